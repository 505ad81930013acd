"""``python -m blobdir``: the command line, where its script isn't on the path."""

from blobdir.cli import main

if __name__ == "__main__":
    main()
