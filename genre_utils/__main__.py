"""``python -m genre_utils``: see :mod:`genre_utils.publish.cli`."""

import sys


def main() -> None:
    """Entry point; says what to install where only the chapters' own packages are."""
    try:
        from genre_utils.publish.cli import main as command_line
    except ModuleNotFoundError as error:
        sys.exit(f"The command line needs {error.name}: pip install 'genre-utils[command]'")
    command_line()


if __name__ == "__main__":
    main()
