# A Python application with its framework and web server, all from Debian: Flask behind Gunicorn.

image "python" {
  packages = ["python3-flask", "gunicorn"]
  user     = "nobody"
  workdir  = "/srv/app"
  command = [
    "/usr/bin/gunicorn", "--bind=0.0.0.0:8000", "--workers=2", "--threads=4",
    "--worker-tmp-dir=/dev/shm", "shop:app",
  ]
  environment = {
    PYTHONDONTWRITEBYTECODE = "1" # there is nowhere to write it
  }

  file "/srv/app/shop.py" {
    content = file("shop.py")
  }
}

service "python" {
  image = image.python

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
