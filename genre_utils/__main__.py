"""``python -m genre_utils``: see :mod:`genre_utils.publish.cli`."""

from genre_utils.publish.cli import main

if __name__ == "__main__":
    main()
