"""`python -m ezai` is `ezai`."""

from ezai.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
