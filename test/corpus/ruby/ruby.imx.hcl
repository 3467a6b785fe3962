# A Ruby application: Rack behind Puma, both from Debian.

image "ruby" {
  packages = ["ruby", "puma", "ruby-rack"]
  without  = ["openssl", "rake", "ruby-net-telnet", "ruby-sdbm", "ruby-webrick", "ruby-xmlrpc"] # not used here
  user     = "nobody"
  workdir  = "/srv/app"
  command  = ["/usr/bin/puma", "--bind", "tcp://0.0.0.0:8000", "--threads", "1:4", "--environment", "production"]

  file "/srv/app/config.ru" {
    content = file("config.ru")
  }
}

service "ruby" {
  image = image.ruby

  port "http" {
    container = 8000
    publish   = 8000
  }
  tmpfs "/tmp" {
    size = "16MiB"
  }
  health {
    http {
      port = "http"
      path = "/healthz"
    }
  }
  resources {
    cpu    = 0.5
    memory = "128MiB"
    pids   = 32
  }
}
