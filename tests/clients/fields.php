<?php
// Answers with what PHP reads as api_user and api_key; for `php -S`.
$read = [];
foreach ([$_GET, $_POST, $_FILES] as $fields) {
    foreach (['api_user', 'api_key'] as $name) {
        $read[] = $fields[$name] ?? null;
    }
}
$answer = json_encode($read, JSON_PARTIAL_OUTPUT_ON_ERROR);
header('Content-Type: application/json');
header('Content-Length: ' . strlen($answer));
echo $answer;
