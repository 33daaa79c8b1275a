/** Chooses the colours before anything is painted, which modules would be too late for. */
document.documentElement.dataset.theme =
  localStorage.getItem("duetto-theme") ??
  (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
