"""``python -m simclr.config``: prints ``docs/configuration.md``, every key as the schema has it."""

from simclr.config.page import page

if __name__ == "__main__":
    print(page(), end="")
