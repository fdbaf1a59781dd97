"""Request and run bulk exports."""
