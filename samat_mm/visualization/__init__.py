"""Figures of attacks and of loss landscapes."""
