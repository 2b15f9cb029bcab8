# A backend on Rack, served by Puma, that answers with what it reads as api_user and api_key. Writes its port to stdout, and
# ends with its stdin.
require 'rack'
require 'puma'
require 'puma/server'
require 'puma/events'

app = lambda do |env|
  request = Rack::Request.new(env)
  read = ->(fields) { [fields['api_user'], fields['api_key']].inspect }
  begin
    [200, { 'Content-Type' => 'text/plain' }, [read[request.GET], read[request.POST]]]
  rescue StandardError => error
    [422, { 'Content-Type' => 'text/plain' }, [error.class.name]]
  end
end

server = Puma::Server.new(app, Puma::Events.strings, { min_threads: 1, max_threads: 4, persistent_timeout: 60 })
port = server.add_tcp_listener('127.0.0.1', 0).addr[1]
server.run
puts port
$stdout.flush
$stdin.read
