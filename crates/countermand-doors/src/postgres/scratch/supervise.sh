# Runs one scratch PostgreSQL for exactly as long as somebody holds the other end of standard input.
#
# usage: sh supervise.sh BIN DIR "PORT..." [SERVER-OPTION...]
#
# A line on standard input asks for a fast shutdown; end of file, which is also what the death of
# the parent looks like, for an immediate one. The directory is removed in every case. If the
# server ended by itself, the last words of its log go to standard output and the status is 1.
set -u
bin=$1 dir=$2 ports=$3
shift 3
signal='' job='' watcher=''
log=$dir/log

order() {
    signal=$1
    [ -z "$job" ] || kill -s "$signal" "$job" 2>/dev/null
}
trap 'order QUIT' TERM INT HUP
trap 'order INT' USR1

# Runs a command to its end, or to the end that was ordered. The signal is repeated, because a
# process that has only just started may not listen to it yet.
run() {
    [ -z "$signal" ] || return 1
    "$@" </dev/null >>"$log" 2>&1 3<&- &
    job=$!
    [ -z "$signal" ] || kill -s "$signal" "$job" 2>/dev/null
    wait "$job"
    status=$?
    tries=0
    while [ -n "$signal" ] && kill -0 "$job" 2>/dev/null; do
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || signal=KILL
        kill -s "$signal" "$job" 2>/dev/null
        sleep 0.1
    done
    job=''
    return "$status"
}

serve() {
    run "$bin/initdb" --pgdata="$dir/data" --username=postgres --pwfile="$dir/password" \
        --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C --no-sync || return
    rm -f "$dir/password"
    for port in $ports; do
        run "$bin/postgres" -D "$dir/data" -p "$port" "$@"
        [ -z "$signal" ] || return
        # Somebody else was faster on this port: the next one.
        grep -q 'could not create any TCP/IP sockets' "$log" || return
        mv "$log" "$log.$port"
    done
}

exec 3<&0 </dev/null
{
    if read -r _ <&3; then kill -s USR1 $$; else kill -s TERM $$; fi
} >/dev/null 2>&1 &
watcher=$!
exec 3<&-

cd "$dir" && serve "$@"

trap '' TERM INT HUP USR1
kill "$watcher" 2>/dev/null
last=$(tail -n 20 "$log" 2>/dev/null)
cd / && rm -rf "$dir"
[ -z "$signal" ] || exit 0
printf '%s\n' "$last"
exit 1
