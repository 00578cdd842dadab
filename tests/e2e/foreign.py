"""Runs one task with nothing but grpcio and what the server's reflection tells. Arguments: ADDRESS CA_FILE TOKEN."""

import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def main(address: str, ca_file: str, token: str) -> None:
    with open(ca_file, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    channel = grpc.secure_channel(address, credentials)
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    metadata = [("authorization", f"Bearer {token}")]

    def message(name: str, **fields):
        return GetMessageClass(pool.FindMessageTypeByName(f"opslink.v1.{name}"))(**fields)

    def method(service: str, name: str):
        found = pool.FindServiceByName(f"opslink.v1.{service}").FindMethodByName(name)
        answer = GetMessageClass(found.output_type)
        kind = channel.unary_stream if found.server_streaming else channel.unary_unary
        return kind(
            f"/opslink.v1.{service}/{name}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=answer.FromString,
        )

    shell = message("ShellSpec", argv=["echo", "from python"])
    create = message(
        "CreateTaskRequest",
        spec=message("TaskSpec", shell=shell),
        selector=message("Selector", names=["prod"]),
    )
    created = method("TaskService", "CreateTask")(create, metadata=metadata, timeout=30)
    watch = message("WatchTaskRequest", task_id=created.task.id, output=2)
    output, state = b"", 0
    for event in method("TaskService", "WatchTask")(watch, metadata=metadata, timeout=60):
        kind = event.WhichOneof("event")
        if kind == "task":
            state = event.task.state
        elif kind == "events":
            output += b"".join(item.output.data for item in event.events.events)
    states = pool.FindEnumTypeByName("opslink.v1.TaskState")
    print(states.values_by_number[state].name, output.decode().strip())


main(*sys.argv[1:])
