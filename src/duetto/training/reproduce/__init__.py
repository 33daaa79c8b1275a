"""The papers' tables, made again: recipes -> runs -> scores -> their figures beside ours."""
