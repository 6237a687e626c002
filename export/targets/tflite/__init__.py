"""The target for TFLite files: conversion, int8, and support by the delegates of phones."""
