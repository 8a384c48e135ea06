"""The command ``mmrecall``, as ``python -m mmrecall``."""

from mmrecall_command import main

if __name__ == '__main__':
    main()
