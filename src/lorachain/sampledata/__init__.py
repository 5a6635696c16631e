"""The sample data of three generations, built from real, licence-clean facts.

Used by `scripts/make_sample_data.py` alone; the repository ships what it writes. The packages that
hold the facts are named in `requirements-sample-data.txt` and imported where they are used.
"""
