"""Reproduction of papers' tables: recipes -> runs -> scores -> the printed figures beside ours."""
