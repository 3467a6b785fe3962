vcl 4.1;

backend default none;

sub vcl_recv {
  unset req.http.Cookie;
}

sub vcl_backend_fetch {
  return (error(200)); # the page is made below; with a backend, leave this out
}

sub vcl_backend_error {
  set beresp.ttl = 60s;
  set beresp.http.Content-Type = "text/plain";
  set beresp.body = "Served by Varnish.";
  return (deliver);
}

sub vcl_deliver {
  if (obj.hits > 0) {
    set resp.http.X-Cache = "hit";
  } else {
    set resp.http.X-Cache = "miss";
  }
}
