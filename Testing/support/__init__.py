"""What more than one test needs: analytic shapes on any grid, and the shared real images."""
