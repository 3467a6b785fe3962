# A program that is linked statically needs no package: its image is the program and an empty frame. Make it with
#   CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o static-go .

image "static-go" {
  user    = "65534"
  command = ["/usr/bin/static-go"]

  file "/usr/bin/static-go" {
    content = file("static-go")
    mode    = "0755"
  }
}

service "static-go" {
  image = image.static-go

  port "http" {
    container = 8080
    publish   = 8080
  }
  health {
    every = "500ms"
    http {
      port = "http"
    }
  }
  resources {
    cpu    = 0.5
    memory = "32MiB"
    pids   = 16
  }
}
