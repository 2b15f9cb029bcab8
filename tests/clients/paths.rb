# Backends on Rack that resolve paths in their own ways: `PROTECTED` where a protected route answers, else what they saw.
# Writes their ports to stdout, one a line, and ends with its stdin.
require 'rack'
require 'puma'
require 'puma/server'
require 'puma/events'
require 'sinatra/base'

PROTECTED = ['/api/mail.send.json', '/send.php', '/v1/send'].freeze

def said(found, env)
  "#{found ? 'PROTECTED' : 'other'} RAW:#{env['REQUEST_URI']}\n"
end

# What programs do with `PATH_INFO`.
plain = lambda do |env|
  seen = [env['PATH_INFO'], env['PATH_INFO'].squeeze('/')]
  seen += seen.map { |one| Rack::Utils.unescape_path(one) }
  seen += seen.map { |one| Rack::Utils.clean_path_info(one) }
  [200, { 'Content-Type' => 'text/plain' }, [said(seen.any? { |one| PROTECTED.include?(one) }, env)]]
rescue StandardError
  [422, { 'Content-Type' => 'text/plain' }, [said(false, env)]]
end

# A router.
class App < Sinatra::Base
  set :environment, :production
  PROTECTED.each { |route| get(route) { said(true, env) } }
  get('/v1/:name.?:format?') { said(params[:name] == 'send', env) }
  not_found { said(false, env) }
end

[plain, App].each do |app|
  server = Puma::Server.new(app, Puma::Events.strings, { min_threads: 1, max_threads: 4, persistent_timeout: 60 })
  port = server.add_tcp_listener('127.0.0.1', 0).addr[1]
  server.run
  puts port
end
$stdout.flush
$stdin.read
