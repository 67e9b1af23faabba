"""Annotation classes of pydantic whose values are plain: AwareDatetime holds a datetime, EmailStr a str."""

import datetime as dt

from tests.cases._case import one_node, run, shown


async def case(store):
    from pydantic import AwareDatetime, BaseModel, EmailStr

    fields = {"at": (AwareDatetime, dt.datetime(2026, 1, 2, tzinfo=dt.UTC))}
    try:
        import email_validator  # noqa: F401

        fields["mail"] = (EmailStr, "amy@example.com")
    except ImportError:
        pass
    ends, is_right = {}, True
    async with store.saver() as saver:
        for name, (declared, value) in fields.items():
            schema = type("State", (BaseModel,), {"__annotations__": {name: declared}, "__module__": __name__})
            try:
                graph = one_node(schema, lambda s: {}).compile(saver)
            except Exception as error:
                ends[name], is_right = shown(error, 300), False
                continue
            await graph.ainvoke({name: value}, thread_id=name)
            ends[name] = (await graph.aget_state(thread_id=name)).values[name]
            is_right = is_right and ends[name] == value
    return {name: value for name, (_, value) in fields.items()}, ends, is_right


run(case, needs=("pydantic",))
