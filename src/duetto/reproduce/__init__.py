"""The papers' tables, made again: recipes -> runs -> scores -> a table with the paper's figures beside ours."""
