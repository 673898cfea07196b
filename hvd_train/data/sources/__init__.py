"""Tables on disk, read in blocks of bounded size: CSV (also compressed), Parquet, LIBSVM, .npz, .ts, and a user's own."""

from hvd_train.data.sources.base import Chunk, Table
from hvd_train.data.sources.formats import code_key, detect_format, open_table
from hvd_train.data.sources.header import Expected
from hvd_train.data.sources.table_format import TableFormat

__all__ = ["Chunk", "Expected", "Table", "TableFormat", "code_key", "detect_format", "open_table"]
