"""``python -m genre_utils``: see :mod:`genre_utils.cli`."""

from genre_utils.cli import main

if __name__ == "__main__":
    main()
