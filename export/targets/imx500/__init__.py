"""Steps towards a network for Sony's IMX500 image sensor."""
