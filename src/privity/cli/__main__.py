"""`python -m privity.cli`: how a devnet starts its roles with the interpreter it runs on."""

from privity.cli.app import main

if __name__ == "__main__":
    main()
