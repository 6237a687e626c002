"""TFLite files: conversion, int8, and what phones make of them."""
