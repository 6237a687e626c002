"""Tests of the apps: what runs a bundle outside the library."""
