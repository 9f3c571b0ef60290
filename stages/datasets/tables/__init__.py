"""Tables of samples: CSV and Parquet files, what is wrong in their rows, official splits."""
