<?php
// A front controller for `php -S`, which says PROTECTED where one of the ways in which programs find their path leads to a
// protected one.
$protected = ['/api/mail.send.json', '/send.php', '/v1/send'];
$uri = $_SERVER['REQUEST_URI'];
$seen = [$uri, strtok($uri, '?'), $_SERVER['SCRIPT_NAME'] ?? '', $_SERVER['PATH_INFO'] ?? '', $_SERVER['PHP_SELF'] ?? ''];
$parsed = parse_url($uri, PHP_URL_PATH);
if (is_string($parsed)) {
    $seen[] = $parsed;
}
if (preg_match('~^/[^/]+\.php(/.*)$~', rawurldecode(strtok($uri, '?')), $rest)) {
    $seen[] = $rest[1];
}
foreach ($seen as $one) {
    $seen[] = rawurldecode($one);
    $seen[] = '/' . trim(trim(rawurldecode($one)), '/');
    $seen[] = '/' . trim(trim($one, '/'));
}
$found = array_intersect($protected, $seen);
$answer = ($found ? 'PROTECTED' : 'other') . " RAW:$uri\n";
header('Content-Length: ' . strlen($answer));
echo $answer;
