"""`python -m mish_guard` is `mish-guard`."""

from mish_guard.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
