# nginx serves a folder of files.

image "nginx" {
  packages    = ["nginx"]
  user        = "www-data"
  command     = ["/usr/sbin/nginx", "-e", "stderr", "-c", "/etc/nginx/site.conf"]
  stop_signal = "SIGQUIT" # nginx then finishes the requests that it has

  file "/srv/www/index.html" {
    content = "Served by nginx.\n"
  }
}

service "nginx" {
  image = image.nginx

  port "http" {
    container = 8080
    publish   = 8080
  }
  file "/etc/nginx/site.conf" {
    content = file("site.conf")
  }
  tmpfs "/var/lib/nginx" {
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
