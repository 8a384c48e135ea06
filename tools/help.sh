# Print the comment at the head of the script that sources this, if its first argument is --help, and end.
# shellcheck shell=bash
case ${1:-} in
  -h | --help)
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
    exit
    ;;
esac
