# lighttpd serves a folder of files.

image "lighttpd" {
  packages    = ["lighttpd"]
  user        = "www-data"
  command     = ["/usr/sbin/lighttpd", "-D", "-f", "/etc/lighttpd/site.conf"]
  stop_signal = "SIGINT" # lighttpd then finishes the requests that it has

  file "/srv/www/index.html" {
    content = "Served by lighttpd.\n"
  }
}

service "lighttpd" {
  image = image.lighttpd

  port "http" {
    container = 8080
    publish   = 8080
  }
  file "/etc/lighttpd/site.conf" {
    content = file("site.conf")
  }
  tmpfs "/var/cache/lighttpd" { # uploads while they come in
    size = "16MiB"
  }
  health {
    every = "500ms"
    http {
      port = "http"
    }
  }
  resources {
    cpu    = 0.5
    memory = "64MiB"
    pids   = 16
  }
}
