# The shell is all there is: no other program of the usual ones is in the image.
set -e
bin=/usr/lib/postgresql/15/bin
data=/var/lib/postgresql/15/main

# initdb removes what it began if it fails. If it was killed, the next start says that the folder isn't
# empty, and a person must look.
if [ ! -s "$data/PG_VERSION" ]; then
  "$bin/initdb" --pgdata="$data" --encoding=UTF8 --locale=C --data-checksums \
    --auth=scram-sha-256 --username=postgres --pwfile=/etc/postgresql/password
fi
exec "$bin/postgres" -D "$data" -c hba_file=/etc/postgresql/pg_hba.conf \
  -c listen_addresses='*' -c unix_socket_directories=/run/postgresql -c shared_buffers=32MB -c jit=off
