# One web service. Look before you leap:  imx plan   then   imx apply
# and open port 8080 of the machine that runs the server.

# An image is made of signed Debian packages and the files below, and of nothing else: it holds
# no shell and no package manager unless a package here brings one.
image "hello" {
  packages    = ["nginx-light"]
  user        = "www-data"
  command     = ["/usr/sbin/nginx", "-e", "stderr", "-c", "/etc/nginx/hello.conf"]
  stop_signal = "SIGQUIT" # nginx then finishes the requests that it has

  file "/srv/www/index.html" {
    content = file("index.html") # read from this folder
  }
}

# A service runs instances of an image. They are never changed: another page, another setting or
# another package makes new instances, which get the traffic once they are healthy.
service "hello" {
  image    = image.hello
  replicas = 2

  port "http" {
    container = 8080
    publish   = 8080 # on the machine's own addresses; without it only connected services get in
  }

  # Configuration belongs to the service, so that changing it builds no new image.
  file "/etc/nginx/hello.conf" {
    content = file("nginx.conf")
  }

  # The root file system is read-only; this directory is in memory and ends with its instance.
  tmpfs "/var/lib/nginx" {
    size = "16MiB"
  }

  # An instance gets traffic only while this answers. Without a health block imx would infer one
  # from the first port, and say so.
  health {
    every = "1s"
    http {
      port = "http"
      path = "/"
    }
  }

  resources {
    cpu    = 0.5
    memory = "64MiB"
    pids   = 16
  }
}
