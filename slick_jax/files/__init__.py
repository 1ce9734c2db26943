"""Files of a run: whole or not there (`atomic`, `run_folder`, `stores`), and one run's at a time (`claim`).

Odd content does no harm: `json_text` reads what others wrote, `csv_text` writes what spreadsheets open.
"""
