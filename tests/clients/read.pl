# Reads requests with Perl's CGI.pm and Mojolicious; input and output as in read.js.
use strict;
use warnings;
use CGI;
use JSON::PP;
use MIME::Base64;
use Mojo::Message::Request;

$CGI::LIST_CONTEXT_WARN = 0;
$| = 1;

sub found {
    my ($values) = @_;
    return map { my $name = $_; map { "$name=$_" } $values->($name) } qw(api_user api_key);
}

sub of_cgi {
    my ($method, $query, $type, $body) = @_;
    local %ENV = (%ENV, REQUEST_METHOD => $method, QUERY_STRING => $query, CONTENT_LENGTH => length $body);
    $ENV{CONTENT_TYPE} = $type if defined $type;
    open my $input, '<', \$body or die;
    local *STDIN = $input;
    CGI::initialize_globals();
    my $cgi = CGI->new;
    return found(sub { map { defined $_ ? "$_" : '' } $cgi->multi_param($_[0]) });
}

sub of_mojolicious {
    my ($method, $query, $type, $body) = @_;
    my $request = Mojo::Message::Request->new;
    my $head = "$method /?$query HTTP/1.1\r\nHost: x\r\nContent-Length: " . length($body) . "\r\n";
    $head .= "Content-Type: $type\r\n" if defined $type;
    $request->parse("$head\r\n$body");
    return found(sub { @{ $request->every_param($_[0]) } });
}

my $json = JSON::PP->new->latin1;
while (my $line = <STDIN>) {
    my $input = decode_json $line;
    my ($query, $body) = map { decode_base64 $_ } @$input{qw(query body)};
    my %all;
    my @body = ($input->{method}, '', $input->{type}, $body);
    my @query = ('GET', $query, undef, '');
    my %parsers = (
        'CGI.pm query' => sub { of_cgi(@query) },
        'CGI.pm' => sub { of_cgi(@body) },
        'mojolicious query' => sub { of_mojolicious(@query) },
        'mojolicious' => sub { of_mojolicious(@body) },
    );
    for my $name (sort keys %parsers) {
        next unless length($name =~ / query$/ ? $query : $body);
        my @read = eval { local $SIG{__WARN__} = sub { }; $parsers{$name}->() };
        $all{$name} = \@read if @read;
    }
    print $json->encode(\%all), "\n";
}
