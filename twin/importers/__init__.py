"""Importers: each turns one foreign format into the tables of a network folder."""
