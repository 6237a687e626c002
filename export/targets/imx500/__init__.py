"""The target for Sony's IMX500 image sensor."""
