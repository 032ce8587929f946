"""The widgets of CTK that the panels use, in their documented behavior; pictures are Qt's own."""

from __future__ import annotations

import types
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Qt, Signal

from .declared import forwarded, stored
from .python_qt import native, qt

#: What `import ctk` gives.
ctk = types.ModuleType("ctk")

_UNLIMITED = 16777215  # QWIDGETSIZE_MAX


def _published(cls: type) -> type:
    setattr(ctk, cls.__name__, cls)
    return native(cls)


@_published
class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A section with a title that hides and shows what is in it."""

    _header = "Libs/Widgets/ctkCollapsibleButton.h"
    _signals = {"contentsCollapsed(bool)": "contentsCollapsed"}
    contentsCollapsed = Signal(bool)
    flat = stored(bool, "flat", False)

    def __init__(self, *arguments: Any) -> None:
        parent = next((value for value in arguments if isinstance(value, QtWidgets.QWidget)), None)
        super().__init__(parent)
        self.setText(next((value for value in arguments if isinstance(value, str)), ""))
        self._hidden: list[QtWidgets.QWidget] = []
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QtWidgets.QSizePolicy.Preferred, QtWidgets.QSizePolicy.Preferred)
        self.setContentsMargins(0, self._title_height(), 0, 0)
        self.toggled.connect(self._on_toggled)

    def _title_height(self) -> int:
        return int(self.fontMetrics().height() + 10)

    def _on_toggled(self, is_open: bool) -> None:
        if is_open:
            for child in self._hidden:
                child.setVisible(True)
            self._hidden = []
        else:
            children = [child for child in self.children() if isinstance(child, QtWidgets.QWidget)]
            self._hidden = [child for child in children if not child.isHidden() and not child.isWindow()]
            for child in self._hidden:
                child.setVisible(False)
        self.setMaximumHeight(_UNLIMITED if is_open else self._title_height())
        self.contentsCollapsed.emit(not is_open)

    def _set_collapsed(self, value: bool) -> None:
        self.setChecked(not value)

    collapsed = Property(bool, lambda self: not self.isChecked(), _set_collapsed, notify=contentsCollapsed)

    def hitButton(self, position: QtCore.QPoint) -> bool:
        """Only the title is a button."""
        return position.y() < self._title_height()

    def sizeHint(self) -> QtCore.QSize:
        """As large as its contents and the title."""
        return self._with_title(self.layout().sizeHint() if self.layout() and self.isChecked() else QtCore.QSize())

    def minimumSizeHint(self) -> QtCore.QSize:
        """As small as its contents may be."""
        return self._with_title(self.layout().minimumSize() if self.layout() and self.isChecked() else QtCore.QSize())

    def _with_title(self, contents: QtCore.QSize) -> QtCore.QSize:
        title = self.fontMetrics().horizontalAdvance(self.text) + 40
        return QtCore.QSize(max(contents.width(), title), max(contents.height(), 0) + self._title_height())

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """The title with its arrow."""
        painter = QtWidgets.QStylePainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width, self._title_height())
        painter.drawControl(QtWidgets.QStyle.CE_PushButtonBevel, option)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(6, self._title_height() // 2 - 5, 10, 10)
        is_open = self.isChecked()
        shape = QtWidgets.QStyle.PE_IndicatorArrowDown if is_open else QtWidgets.QStyle.PE_IndicatorArrowRight
        painter.drawPrimitive(shape, arrow)
        text = option.rect.adjusted(22, 0, -4, 0)
        painter.drawText(text, Qt.AlignVCenter | Qt.AlignLeft, self.text.replace("&&", "&"))


@_published
class ctkDoubleSpinBox(QtWidgets.QWidget):
    """A spin box of floating-point numbers."""

    _header = "Libs/Widgets/ctkDoubleSpinBox.h"
    _signals = {"valueChanged(double)": "valueChanged", "editingFinished()": "editingFinished"}
    valueChanged = Signal(float)
    editingFinished = Signal()

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._spin_box = QtWidgets.QDoubleSpinBox()
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._spin_box)
        self._spin_box.valueChanged.connect(self.valueChanged)
        self._spin_box.editingFinished.connect(self.editingFinished)

    decimals = forwarded(int, "_spin_box", "decimals")
    maximum = forwarded(float, "_spin_box", "maximum")
    minimum = forwarded(float, "_spin_box", "minimum")
    prefix = forwarded(str, "_spin_box", "prefix")
    readOnly = forwarded(bool, "_spin_box", "readOnly")
    singleStep = forwarded(float, "_spin_box", "singleStep")
    suffix = forwarded(str, "_spin_box", "suffix")
    value = forwarded(float, "_spin_box", "value")

    def setValue(self, value: float) -> None:
        """Set the value."""
        self._spin_box.setValue(value)

    def stepUp(self) -> None:
        """One step up."""
        self._spin_box.stepUp()

    def stepDown(self) -> None:
        """One step down."""
        self._spin_box.stepDown()


@_published
class ctkSliderWidget(QtWidgets.QWidget):
    """A slider and a spin box of the same value."""

    _header = "Libs/Widgets/ctkSliderWidget.h"
    _signals = {"valueChanged(double)": "valueChanged", "valueIsChanging(double)": "valueIsChanging"}
    valueChanged = Signal(float)
    valueIsChanging = Signal(float)
    _STEPS = 1000
    pageStep = stored(float, "pageStep", 10.0)
    tickInterval = stored(float, "tickInterval", 0.0)
    tracking = stored(bool, "tracking", True)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._spin_box, self._slider = QtWidgets.QDoubleSpinBox(), QtWidgets.QSlider(Qt.Horizontal)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider)
        layout.addWidget(self._spin_box)
        self._slider.setRange(0, self._STEPS)
        self._is_following = False
        self._before: float | None = None
        self._spin_box.valueChanged.connect(self._on_spin_box)
        self._slider.valueChanged.connect(self._on_slider)
        self._slider.sliderPressed.connect(self._on_pressed)
        self._slider.sliderReleased.connect(self._on_released)

    def _on_spin_box(self, value: float) -> None:
        self._follow()
        if self._before is None or self.tracking:
            self.valueChanged.emit(value)
        else:
            self.valueIsChanging.emit(value)

    def _follow(self) -> None:
        span = self._spin_box.maximum - self._spin_box.minimum
        self._is_following = True
        self._slider.setValue(
            round(self._STEPS * (self._spin_box.value - self._spin_box.minimum) / span) if span else 0
        )
        self._is_following = False

    def _on_slider(self, step: int) -> None:
        if not self._is_following:
            span = self._spin_box.maximum - self._spin_box.minimum
            self._spin_box.setValue(self._spin_box.minimum + span * step / self._STEPS)

    def _on_pressed(self) -> None:
        self._before = self._spin_box.value

    def _on_released(self) -> None:
        before, self._before = self._before, None
        if not self.tracking and before != self._spin_box.value:
            self.valueChanged.emit(self._spin_box.value)

    decimals = forwarded(int, "_spin_box", "decimals")
    maximum = forwarded(float, "_spin_box", "maximum", _follow)
    minimum = forwarded(float, "_spin_box", "minimum", _follow)
    prefix = forwarded(str, "_spin_box", "prefix")
    singleStep = forwarded(float, "_spin_box", "singleStep")
    suffix = forwarded(str, "_spin_box", "suffix")
    value = forwarded(float, "_spin_box", "value")

    def setValue(self, value: float) -> None:
        """Set the value."""
        self._spin_box.setValue(value)

    def _set_spin_box_visible(self, visible: bool) -> None:
        self._spin_box.setVisible(visible)

    spinBoxVisible = Property(bool, lambda self: not self._spin_box.isHidden(), _set_spin_box_visible)


@_published
class ctkPathLineEdit(QtWidgets.QWidget):
    """A path, typed or browsed for."""

    _header = "Libs/Widgets/ctkPathLineEdit.h"
    _signals = {
        "currentPathChanged(QString)": "currentPathChanged",
        "validInputChanged(bool)": "validInputChanged",
    }
    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)
    nameFilters = stored("QStringList", "nameFilters", [])
    settingKey = stored(str, "settingKey", "")
    showHistoryButton = stored(bool, "showHistoryButton", True)

    def __init__(self, *arguments: Any) -> None:
        parent = next((value for value in arguments if isinstance(value, QtWidgets.QWidget)), None)
        super().__init__(parent)
        self._line_edit = QtWidgets.QLineEdit()
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._line_edit)
        browse = QtWidgets.QToolButton()
        browse.setText("...")
        layout.addWidget(browse)
        self._line_edit.textChanged.connect(self.currentPathChanged)

    currentPath = forwarded(str, "_line_edit", "text")

    def setCurrentPath(self, path: str) -> None:
        """Set the path."""
        self._line_edit.setText(path)

    def addCurrentPathToHistory(self) -> None:
        """The history is not modelled."""


@_published
class ctkDirectoryButton(QtWidgets.QWidget):
    """A button that shows a folder and lets choose another."""

    _header = "Libs/Widgets/ctkDirectoryButton.h"
    _signals = {"directoryChanged(QString)": "directoryChanged", "directorySelected(QString)": "directorySelected"}
    directoryChanged = Signal(str)
    directorySelected = Signal(str)
    caption = stored(str, "caption", "")

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._directory = ""
        self._button = QtWidgets.QPushButton()
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._button)

    def _set_directory(self, path: str) -> None:
        if path != self._directory:
            self._directory = path
            self._button.text = path
            self.directoryChanged.emit(path)

    directory = Property(str, lambda self: self._directory, _set_directory)
    text = forwarded(str, "_button", "text")


@_published
class ctkPushButton(QtWidgets.QPushButton):
    """A push button."""

    _header = "Libs/Widgets/ctkPushButton.h"


@_published
class ctkCheckablePushButton(ctkPushButton):
    """A push button with a check box in it; only the state of the button is modelled."""

    _header = "Libs/Widgets/ctkCheckablePushButton.h"


@_published
class ctkMenuButton(QtWidgets.QPushButton):
    """A push button with a menu beside it."""

    _header = "Libs/Widgets/ctkMenuButton.h"


@_published
class ctkComboBox(QtWidgets.QComboBox):
    """A combo box that shows a text where nothing is chosen."""

    _header = "Libs/Widgets/ctkComboBox.h"
    defaultText = stored(str, "defaultText", "")


@_published
class ctkMessageBox(QtWidgets.QMessageBox):
    """A message box; nothing but Qt's part is modelled."""

    _header = "Libs/Widgets/ctkMessageBox.h"


@_published
class ctkCollapsibleGroupBox(QtWidgets.QGroupBox):
    """A group box that can be closed by its check box."""

    _header = "Libs/Widgets/ctkCollapsibleGroupBox.h"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.setCheckable(True)
        self.toggled.connect(self._on_toggled)

    def _on_toggled(self, is_open: bool) -> None:
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(is_open)

    def _set_collapsed(self, value: bool) -> None:
        self.setChecked(not value)

    collapsed = Property(bool, lambda self: not self.isChecked(), _set_collapsed)


assert qt.QWidget is QtWidgets.QWidget
