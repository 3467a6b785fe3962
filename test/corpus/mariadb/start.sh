# This does what mariadb-install-db does, with the same files: that one is a script too, which needs
# programs that nothing else here does (cat, sed). The shell is all there is.
set -e
sql=/usr/share/mysql
data=/var/lib/mysql

show() {
  while IFS= read -r line; do printf '%s\n' "$line"; done <"$1"
}

# Cut off in the middle, it is done again: each statement makes only what isn't there.
if [ ! -e "$data/tables-are-made" ]; then
  {
    echo "create database if not exists mysql;"
    echo "use mysql;"
    echo "set @auth_root_socket='mysql';" # root is who runs the server, on this instance's socket alone
    for file in mysql_system_tables mysql_performance_tables mysql_system_tables_data \
      maria_add_gis_sp_bootstrap mysql_sys_schema; do
      show "$sql/$file.sql"
    done
  } | /usr/sbin/mariadbd --bootstrap --enforce-storage-engine="" --max-allowed-packet=8M >/dev/null
  : >"$data/tables-are-made"
fi
exec /usr/sbin/mariadbd
