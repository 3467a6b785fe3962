# HAProxy forwards to a backend. So that the example stands alone, the backend is HAProxy too, on a port
# that only the instance itself reaches. With a service of yours, write connect = [service.app.port.http]
# and give templatefile() its address.

image "haproxy" {
  packages    = ["haproxy"]
  user        = "haproxy"
  command     = ["/usr/sbin/haproxy", "-db", "-f", "/etc/haproxy/site.cfg"]
  stop_signal = "SIGUSR1" # HAProxy then finishes the requests that it has
}

service "haproxy" {
  image = image.haproxy

  port "http" {
    container = 8080
    publish   = 8080
  }
  file "/etc/haproxy/site.cfg" {
    content = file("site.cfg")
  }
  health {
    every = "500ms"
    http {
      port = "http"
      path = "/healthz"
    }
  }
  resources {
    cpu    = 0.5
    memory = "96MiB"
    pids   = 16
  }
}
