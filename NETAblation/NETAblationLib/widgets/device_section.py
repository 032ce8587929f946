"""Device and setting of new probes, and where the size of their zone comes from."""

from __future__ import annotations

from collections.abc import Mapping

from ..core.devices import Device
from ..scene import probe_words
from ..scene.cases import CaseScene
from .panel import Panel
from .section import Section


class DeviceSection(Section):
    """Offers the devices whose zones can be planned, and the settings of the chosen one."""

    def __init__(self, panel: Panel, catalogue: Mapping[str, Device]) -> None:
        """Offer the devices of a catalogue and connect the widgets."""
        super().__init__(panel)
        self._catalogue = catalogue
        ui = self.ui
        for device in catalogue.values():
            if device.is_plannable:
                ui.deviceComboBox.addItem(f"{device.modality}: {device.model}", device.id)
        self._fillSettings()
        ui.deviceComboBox.connect("currentIndexChanged(int)", self.onDevice)
        ui.settingComboBox.connect("currentIndexChanged(int)", self.onSetting)

    @property
    def device(self) -> Device:
        """The chosen device."""
        return self._catalogue[self.ui.deviceComboBox.itemData(self.ui.deviceComboBox.currentIndex)]

    @property
    def choice(self) -> dict[str, str]:
        """Device and setting of new probes."""
        settings = self.ui.settingComboBox
        return {"device": self.device.id, "setting": settings.itemData(settings.currentIndex)}

    def show(self, case: CaseScene | None, lesionId: str) -> None:
        """The choices of the parameter node in the lists; the first device where there is none yet."""
        devices, settings = self.ui.deviceComboBox, self.ui.settingComboBox
        index = max(devices.findData(self.panel.parameterNode.device), 0)
        if devices.currentIndex != index or settings.count == 0:
            devices.setCurrentIndex(index)
            self._fillSettings()
        index = settings.findData(self.panel.parameterNode.setting)
        if index >= 0:
            settings.setCurrentIndex(index)
        self._showSource()

    def onDevice(self, _index: int) -> None:
        """Another device was chosen: its settings are offered."""
        if self.panel.parameterNode is None:
            return
        self._fillSettings()
        self.panel.parameterNode.device = self.device.id
        self.onSetting(0)

    def onSetting(self, _index: int) -> None:
        """Another setting was chosen: its source is shown."""
        self.panel.parameterNode.setting = self.choice["setting"]
        self._showSource()

    def _fillSettings(self) -> None:
        settings = self.ui.settingComboBox
        wasBlocked = settings.blockSignals(True)
        settings.clear()
        for setting in self.device.plannable_settings:
            settings.addItem(probe_words.setting_in_words(setting), setting.name)
        settings.blockSignals(wasBlocked)

    def _showSource(self) -> None:
        setting = self.device.setting(self.choice["setting"])
        self.ui.sourceLabel.text = probe_words.source_in_words(setting)
