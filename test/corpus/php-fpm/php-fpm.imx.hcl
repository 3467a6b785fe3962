# PHP's FastCGI server with a script. A web server connects to it: nginx with
# fastcgi_pass and service.php-fpm.port.fastcgi.address.

image "php-fpm" {
  packages    = ["php-fpm"]
  without     = ["php8.2-cli"] # PHP for terminals
  user        = "www-data"
  command     = ["/usr/sbin/php-fpm8.2", "--nodaemonize", "--fpm-config", "/etc/php/8.2/fpm/app.conf"]
  stop_signal = "SIGQUIT" # PHP then finishes the requests that it has

  file "/srv/app/index.php" {
    content = file("index.php")
  }
}

service "php-fpm" {
  image = image.php-fpm

  port "fastcgi" {
    container = 9000
    publish   = 9000
  }
  file "/etc/php/8.2/fpm/app.conf" {
    content = file("app.conf")
  }
  health {
    every = "500ms"
    tcp {
      port = "fastcgi"
    }
  }
  resources {
    cpu    = 0.5
    memory = "128MiB"
    pids   = 16
  }
}
