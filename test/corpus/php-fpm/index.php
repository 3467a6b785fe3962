<?php
header('Content-Type: text/plain');
printf("%s from PHP, opcache: %s\n", $_GET['greet'] ?? 'Hello', json_encode(extension_loaded('Zend OPcache')));
