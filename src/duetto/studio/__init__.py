"""The studio: a page in the browser and the HTTP service behind it.

`configuration` -> `store` (jobs in SQLite) -> `workers` (processes) that run `tasks` and draw a `picture` of
a `combination` of stems -> `queue` (jobs that run) -> `uploads`, `jobs` (what the service does), `products`
(made of stems on demand) -> `views`, `events`, `api` (HTTP) behind the `guard` -> `server`.
"""
