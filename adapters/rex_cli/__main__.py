"""``python -m rex_cli``, the same as ``rex``."""

from rex_cli import main

main()
