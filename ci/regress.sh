#!/bin/sh
# Is a kernel's mmap'ed netlink still what it was? The kernel is the image that its build has made; what it was is a file
# that "nlmmap identify --save" or "nlmmap versions --save" has written, or the name of a release. docs/ci.md tells more.
#
# Usage: ci/regress.sh IMAGE KERNEL [SCENARIO ...]
#
#   IMAGE     a bzImage, or a directory of recordings
#   KERNEL    vendor.kernel, or 4.4.1
#   SCENARIO  files or directories to play instead of those recorded of the release that KERNEL begins with
#
# Environment: NLMMAP (the program; nlmmap if not set), REPORT (a directory, nlmmap-report), LIMIT (how long it may take,
# 30m), NLMMAP_FLAGS (more flags of nlmmap verify, say --qemu PROGRAM or --guests 4).
#
# In REPORT are then report.txt and junit.xml, and in log.txt what went wrong. The exit code is that of nlmmap: 0 it is what
# it was, 1 it is not, 2 nothing could be compared, 3 interrupted; and 124 if LIMIT was too short.
set -u

fail() {
	echo "regress.sh: $*" >&2
	exit 2
}

absolute() {
	case $1 in
	/*) echo "$1" ;;
	*) echo "$PWD/$1" ;;
	esac
}

[ $# -ge 2 ] || fail "expected an image and a kernel: ci/regress.sh IMAGE KERNEL [SCENARIO ...]"
image=$(absolute "$1")
kernel=$2
shift 2
[ -e "$image" ] || fail "$image: no such file"
[ ! -e "$kernel" ] || kernel=$(absolute "$kernel")
nlmmap=${NLMMAP:-nlmmap}
case $nlmmap in
*/*) nlmmap=$(absolute "$nlmmap") ;;
esac
command -v "$nlmmap" >/dev/null || fail "$nlmmap: no such program: set NLMMAP, or build it with go build ./cmd/nlmmap"
report=$(absolute "${REPORT:-nlmmap-report}")
mkdir -p "$report" || fail "cannot make $report"

for path; do # the scenarios, as seen from the directory that has the others
	set -- "$@" "$(absolute "$path")"
	shift
done
if [ -d "$image" ]; then
	set -- "$image" "$@"
else
	set -- --boot "$image" "$@"
fi
cd "$(dirname "$0")/.." || fail "cannot find the scenarios"

status=0
# NLMMAP_FLAGS are several words.
# shellcheck disable=SC2086
timeout -k 60 "${LIMIT:-30m}" "$nlmmap" verify -v -junit "$report/junit.xml" --kernel "$kernel" ${NLMMAP_FLAGS:-} "$@" \
	>"$report/report.txt" 2>"$report/log.txt" || status=$?

cat "$report/report.txt"
cat "$report/log.txt" >&2
case $status in
0) echo "mmap'ed netlink is what $kernel says" ;;
1) echo "mmap'ed netlink is not what $kernel says: see above, or $report" ;;
3) echo "interrupted" ;;
124 | 137)
	echo "not finished within ${LIMIT:-30m}: set LIMIT"
	status=124
	;;
*)
	echo "nothing was compared"
	status=2
	;;
esac
exit "$status"
