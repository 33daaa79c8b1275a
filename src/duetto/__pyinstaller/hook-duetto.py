"""What PyInstaller cannot see: models, the list of public names, and modules imported on first use."""

from PyInstaller.utils.hooks import collect_data_files, collect_submodules

OPTIONAL = ("duetto.training", "duetto.studio", "duetto.batch.ray")  # collected where a program imports them

datas = collect_data_files("duetto")
hiddenimports = collect_submodules("duetto", filter=lambda name: not name.startswith(OPTIONAL))
