"""O formato JSON: o mesmo protocolo, um objeto por linha."""

import json
import signal

import pytest
from participante import FECHOU
from test_falhas import abrir_processo, so_no_posix
from test_protocolo import casos

from protocolo import (
    MAXIMO_DA_LINHA,
    MAXIMO_DE_NIVEIS,
    Aviso,
    Conectado,
    Consulta,
    Entrada,
    Fila,
    Fim,
    Json,
    LinhaLonga,
    Mensagem,
    Pausa,
    Pergunta,
    Resposta,
    SeparadorDeLinhas,
    Texto,
    Tipo,
    Transferencia,
    Volta,
    comandos_do_servidor,
    formato_de,
)

__all__ = ["abrir_processo"]  # um acessório que o teste pede pelo nome

FAMILIA = "\N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}\N{ZERO WIDTH JOINER}\N{GIRL}"


# --- Sem rede -----------------------------------------------------------------------------------

DO_SERVIDOR = {
    "nome": (Pergunta("nome"), '{"comando":"nome"}'),
    "senha": (Pergunta("senha"), '{"comando":"senha"}'),
    "departamento": (
        Pergunta("departamento", ("Vendas", "Suporte")),
        '{"comando":"departamento","opcoes":["Vendas","Suporte"]}',
    ),
    "posicao": (Fila(2), '{"comando":"fila","posicao":2}'),
    "livre": (Fila(None), '{"comando":"fila","posicao":null}'),
    "conectado": (Conectado("Ana"), '{"comando":"conectado","nome":"Ana"}'),
    "mensagem": (Mensagem("Ana", ("Olá!",)), '{"comando":"mensagem","nome":"Ana","texto":"Olá!"}'),
    "escapes": (Mensagem("A", ('"\\',)), '{"comando":"mensagem","nome":"A","texto":"\\"\\\\"}'),
    "emoji": (Mensagem("A", (FAMILIA,)), f'{{"comando":"mensagem","nome":"A","texto":"{FAMILIA}"}}'),
    "fim": (Fim("Servidor encerrado."), '{"comando":"fim","mensagem":"Servidor encerrado."}'),
    "aviso": (Aviso("oi"), '{"comando":"aviso","mensagem":"oi"}'),
}
DO_TERMINAL = {
    "cliente": (Entrada(Tipo.CLIENTE), '{"comando":"cliente"}'),
    "atendente": (
        Entrada(Tipo.ATENDENTE, "Vendas,Suporte", "Ana", "x"),
        '{"comando":"atendente","nome":"Ana","departamento":"Vendas,Suporte","senha":"x"}',
    ),
    "resposta": (Resposta("nome", "Yuri"), '{"comando":"nome","nome":"Yuri"}'),
    "mensagem": (Mensagem("Yuri", ("Olá!",)), '{"comando":"mensagem","texto":"Olá!"}'),
    "fim": (Fim(), '{"comando":"fim"}'),
    "fila": (Consulta(), '{"comando":"fila"}'),
    "pausa": (Pausa(), '{"comando":"pausa"}'),
    "volta": (Volta(), '{"comando":"volta"}'),
    "transferir": (Transferencia("Suporte"), '{"comando":"transferir","departamento":"Suporte"}'),
}


@casos("comando, linha", DO_SERVIDOR)
def test_codificar_no_servidor(comando, linha):
    """Cada comando tem no fio a forma literal da especificação, sem espaços e em UTF-8."""
    assert Json("Yuri").codificar(comando) == f"{linha}\n".encode()


@casos("comando, linha", DO_TERMINAL)
def test_codificar_no_terminal(comando, linha):
    """Os programas também, e não dizem ao servidor o que ele já sabe."""
    assert Json().codificar(comando) == f"{linha}\n".encode()


@casos("comando, linha", DO_SERVIDOR)
def test_ida_e_volta(comando, linha):
    """O comando que o servidor codifica é o que o programa de terminal lê."""
    assert Json().ler_servidor([linha]) == [comando]


def test_varias_mensagens():
    """Cada texto é uma linha."""
    assert Json().codificar(Mensagem("A", ["um", "dois"])).count(b"\n") == 2


def test_o_que_nao_tem_forma_no_fio():
    """Uma marca de linha descartada não pode ser enviada, e um substituto solto não derruba ninguém."""
    with pytest.raises(ValueError):
        Json().codificar(LinhaLonga())
    assert b"a?b" in Json().codificar(Mensagem("A", ["a\ud800b"]))


@casos(
    "inicio, formato",
    {"texto": (b"CLIENTE", Texto), "chave": (b"{", Json), "espaco-e-chave": (b" {", Texto), "lista": (b"[", Texto)},
)
def test_o_primeiro_byte_diz_o_formato(inicio, formato):
    """Fala JSON a conexão cuja primeira linha começa por `{`, e nenhuma outra."""
    assert type(formato_de(inicio)) is formato


@casos(
    "linha, entrada",
    {
        "so-o-tipo": ('{"comando":"cliente"}', Entrada(Tipo.CLIENTE)),
        "tudo": (
            '{"senha":"s","nome":"Ana","departamento":"Vendas","comando":"atendente"}',
            Entrada(Tipo.ATENDENTE, "Vendas", "Ana", "s"),
        ),
        "lista": ('{"comando":"atendente","departamento":["Vendas","Suporte"]}', Entrada(Tipo.ATENDENTE, "Vendas,Suporte")),
        "lista-vazia": ('{"comando":"atendente","departamento":[]}', Entrada(Tipo.ATENDENTE, "*")),
        "texto-vazio": ('{"comando":"atendente","departamento":" "}', Entrada(Tipo.ATENDENTE, "*")),
        "chaves-a-mais": ('{"comando":"cliente","idade":7,"x":[{"y":null}]}', Entrada(Tipo.CLIENTE)),
        "espacos": ('{ "comando" : "cliente" } ', Entrada(Tipo.CLIENTE)),
        "ultima-chave-repetida": ('{"comando":"x","comando":"cliente"}', Entrada(Tipo.CLIENTE)),
    },
)
def test_ler_entrada(linha, entrada):
    """O primeiro objeto diz o tipo, e pode trazer o que o servidor perguntaria."""
    assert Json().ler_entrada(linha) == entrada


INVALIDO = "JSON inválido: mande um objeto por linha."


@casos(
    "linha, motivo",
    {
        "nao-e-json": ("{comando", INVALIDO),
        "nao-e-objeto": ("[1]", INVALIDO),
        "so-um-texto": ('"cliente"', INVALIDO),
        "sem-comando": ("{}", 'Campo "comando" inválido: deve ser um texto.'),
        "comando-que-nao-e-texto": ('{"comando":1}', 'Campo "comando" inválido: deve ser um texto.'),
        "outro-comando": ('{"comando":"fila"}', 'Tipo inválido: o primeiro comando é "cliente" ou "atendente".'),
        "nome-que-nao-e-texto": ('{"comando":"cliente","nome":null}', 'Campo "nome" inválido: deve ser um texto.'),
        "lista-de-numeros": (
            '{"comando":"atendente","departamento":[1]}',
            'Campo "departamento" inválido: deve ser um texto.',
        ),
        "longa": (None, "Linha longa demais (máximo de 4096 bytes)."),
    },
)
def test_entrada_invalida(linha, motivo):
    """Qualquer outra coisa é recusada, e o motivo diz o que está errado."""
    with pytest.raises(ValueError) as erro:
        Json().ler_entrada(linha)
    assert str(erro.value) == motivo


def test_ler_resposta():
    """A resposta é o mesmo comando com o valor; outro comando não serve."""
    assert Json().ler_resposta("nome", '{"comando":"nome","nome":"Yuri"}') == Resposta("nome", "Yuri")
    lista = '{"comando":"departamento","departamento":["A","B"]}'
    assert Json().ler_resposta("departamento", lista) == Resposta("departamento", "A,B")
    for linha in ('{"comando":"senha","senha":"x"}', '{"comando":"nome"}', "Yuri", None):
        with pytest.raises(ValueError):
            Json().ler_resposta("nome", linha)


@casos(
    "linha, texto",
    {
        "simples": ('{"comando":"mensagem","texto":"oi"}', "oi"),
        "parece-comando": ('{"comando":"mensagem","texto":"FIM:"}', "FIM:"),
        "com-prefixo": ('{"comando":"mensagem","texto":"[Yuri]: oi"}', "[Yuri]: oi"),
        "espacos-nas-pontas": ('{"comando":"mensagem","texto":" oi "}', " oi "),
        "controles": (r'{"comando":"mensagem","texto":"a\u001b[2J\n\u0000\u202eb\tc"}', "a[2Jb c"),
        "substituto-solto": (r'{"comando":"mensagem","texto":"a\ud800b\udc00"}', "a\ufffdb\ufffd"),
        "par-trocado": (r'{"comando":"mensagem","texto":"\ude00\ud83d"}', "\ufffd\ufffd"),
        "comando-com-escapes": (r'{"comando":"\u006densagem","texto":"\u0046IM\u003a"}', "FIM:"),
        "aspas-e-barras": (r'{"comando":"mensagem","texto":"\"\\\/\b\f\r"}', '"\\/'),
        "bidirecional-e-separadores": (r'{"comando":"mensagem","texto":"a\u2066\u2028\u2029\u200db"}', "a\u200db"),
        "chave-repetida": ('{"comando":"mensagem","texto":"um","texto":"dois"}', "dois"),
        "chaves-a-mais": ('{"comando":"mensagem","texto":"oi","x":null,"y":[1,{"z":1e999}]}', "oi"),
        "numero-enorme-a-mais": (f'{{"comando":"mensagem","texto":"oi","x":{"9" * 4000}}}', "oi"),
        "par-de-substitutos": (r'{"comando":"mensagem","texto":"\ud83d\ude00"}', "😀"),
        "muitos-colchetes": ('{"comando":"mensagem","texto":"' + "[" * 3000 + '"}', "[" * 3000),
        "nome-de-outro": ('{"comando":"mensagem","nome":"Ana","texto":"oi"}', "oi"),
    },
)
def test_mensagem(linha, texto):
    """O texto é exatamente o que está no campo, depois da limpeza, e é de quem o mandou."""
    assert Json("Yuri").ler_participante([linha]) == [Mensagem("Yuri", [texto])]


@casos("texto", {"vazio": "", "espacos": "  ", "controles": r"\u0000\n", "espaco-largo": "\u3000"})
def test_texto_em_branco(texto):
    """Uma mensagem em branco é ignorada, e nem separa as vizinhas."""
    a, b = '{"comando":"mensagem","texto":"a"}', '{"comando":"mensagem","texto":"b"}'
    em_branco = f'{{"comando":"mensagem","texto":"{texto}"}}'
    assert Json("Y").ler_participante([a, em_branco, "", b]) == [Mensagem("Y", ["a", "b"])]


@casos(
    "linha, aviso",
    {
        "nao-e-json": ("oi", INVALIDO),
        "comando-de-texto": ("FIM:", INVALIDO),
        "constante": ("NaN", INVALIDO),
        "desconhecido": ('{"comando":"voar"}', 'Comando desconhecido: "voar".'),
        "desconhecido-e-comprido": (f'{{"comando":"{"x" * 3000}"}}', f'Comando desconhecido: "{"x" * 40}".'),
        "do-servidor": ('{"comando":"conectado","nome":"Ana"}', 'Comando desconhecido: "conectado".'),
        "sem-texto": ('{"comando":"mensagem"}', 'Campo "texto" inválido: deve ser um texto.'),
        "texto-numerico": ('{"comando":"mensagem","texto":1}', 'Campo "texto" inválido: deve ser um texto.'),
        "comando-nulo": ('{"comando":null}', 'Campo "comando" inválido: deve ser um texto.'),
        "comando-em-lista": ('{"comando":["fila"]}', 'Campo "comando" inválido: deve ser um texto.'),
        "texto-nulo": ('{"comando":"mensagem","texto":null}', 'Campo "texto" inválido: deve ser um texto.'),
        "texto-em-lista": ('{"comando":"mensagem","texto":["oi"]}', 'Campo "texto" inválido: deve ser um texto.'),
        "transferir-em-lista": (
            '{"comando":"transferir","departamento":["A"]}',
            'Campo "departamento" inválido: deve ser um texto.',
        ),
        "maiusculas": ('{"comando":"FILA"}', 'Comando desconhecido: "FILA".'),
        "dois-objetos": ('{"comando":"fila"}{"comando":"fila"}', INVALIDO),
        "aspas-simples": ("{'comando':'fila'}", INVALIDO),
        "transferir-sem-nome": ('{"comando":"transferir"}', 'Campo "departamento" inválido: deve ser um texto.'),
        "numero-enorme": ("9" * 4000, INVALIDO),
        "fundo": ("[" * 4090, "JSON inválido: há listas e objetos demais, uns dentro dos outros."),
        "apinhado": ('{"a":' * (MAXIMO_DE_NIVEIS + 1), "JSON inválido: há listas e objetos demais, uns dentro dos outros."),
        "aspas-abertas": ('{"comando":"mensagem","texto":"' + "[" * 3000, INVALIDO),
    },
)
def test_o_que_nao_se_entende_vira_aviso(linha, aviso):
    """Cada linha que não se entende é respondida com o que há de errado nela."""
    assert Json("Yuri").ler_participante([linha]) == [Aviso(aviso)]


def test_ate_o_limite_de_listas():
    """Uma chave a mais com muitas listas ainda é ignorada."""
    linha = '{"comando":"fila","x":' + "[" * (MAXIMO_DE_NIVEIS - 1) + "]" * (MAXIMO_DE_NIVEIS - 1) + "}"
    assert Json().ler_participante([linha]) == [Consulta()]


@pytest.mark.parametrize("constante", ["NaN", "Infinity", "-Infinity"])
def test_constantes_que_nao_sao_json(constante):
    """Nenhum outro programa leria esta linha: ela é JSON inválido mesmo numa chave a mais."""
    assert Json().ler_participante([f'{{"comando":"fila","x":{constante}}}']) == [Aviso(INVALIDO)]


def test_muitas_listas_lado_a_lado():
    """Chaves a mais são ignoradas, ainda que compridas: só as listas umas dentro das outras esgotam a pilha."""
    linha = json.dumps({"comando": "fila", "x": [[]] * (MAXIMO_DE_NIVEIS + 1)})
    assert Json().ler_participante([linha]) == [Consulta()]


@casos("quantas, aceita", {"cabe": (MAXIMO_DA_LINHA - len("[Y]: \n"), True), "nao-cabe": (4091, False)})
def test_o_limite_e_o_da_forma_de_texto(quantas, aceita):
    """A mensagem que não caberia numa linha de texto é longa demais, ainda que coubesse em JSON."""
    linha = json.dumps({"comando": "mensagem", "texto": "x" * quantas})
    assert Json("Y").ler_participante([linha]) == [Mensagem("Y", ["x" * quantas]) if aceita else LinhaLonga()]


def test_a_maior_mensagem_chega_inteira_ao_programa():
    """Em JSON a mensagem pode passar de 4096 bytes, e o programa de terminal a lê mesmo assim."""
    mensagem = Mensagem("Ana", ('"' * (MAXIMO_DA_LINHA - len("[Ana]: \n")),))
    fluxo = iter([Json("Yuri").codificar(mensagem), b""])
    assert list(comandos_do_servidor(lambda maximo: next(fluxo), Json())) == [mensagem]


def test_a_recusa_em_texto_tambem_se_entende():
    """Quem é recusado antes de dizer algo lê em texto, e o programa mostra o motivo."""
    assert Json().ler_servidor(["FIM:Servidor lotado; tente mais tarde."]) == [Fim("Servidor lotado; tente mais tarde.")]


@casos(
    "linha",
    {
        "vazia": "",
        "texto": "FILA:1",
        "lista": "[]",
        "posicao-em-texto": '{"comando":"fila","posicao":"1"}',
        "posicao-verdadeira": '{"comando":"fila","posicao":true}',
        "posicao-negativa": '{"comando":"fila","posicao":-1}',
        "sem-nome": '{"comando":"conectado"}',
        "opcoes-que-nao-sao-lista": '{"comando":"departamento","opcoes":"Vendas"}',
        "desconhecido": '{"comando":"apagar"}',
    },
)
def test_lixo_do_servidor_e_descartado(linha):
    """O que não se entende some, sem levar os vizinhos."""
    assert Json().ler_servidor(['{"comando":"fila","posicao":2}', linha]) == [Fila(2)]


# --- No fio -------------------------------------------------------------------------------------


def objeto(**campos):
    return json.dumps(campos, ensure_ascii=False)


def objeto_do_fio(comando, mensagem):
    """A linha exata de um `fim` ou de um `aviso`."""
    return json.dumps({"comando": comando, "mensagem": mensagem}, ensure_ascii=False, separators=(",", ":"))


@pytest.fixture
def com_dois(abrir_servidor):
    """Um servidor com departamentos e senha, e por isso com todas as perguntas."""
    return abrir_servidor(departamentos=("Vendas", "Suporte"), senha="segredo")


def test_tudo_na_primeira_linha(com_dois):
    """Quem diz tudo não é perguntado."""
    ana = com_dois.conecta("Ana")
    ana.envia(objeto(comando="atendente", nome="Ana", departamento=["vendas", "SUPORTE"], senha="segredo"))
    ana.espera('{"comando":"fila","posicao":null}')
    yuri = com_dois.conecta("Yuri")
    yuri.envia(objeto(comando="cliente", nome="Yuri", departamento="Vendas", senha="a mais"))
    yuri.espera('{"comando":"conectado","nome":"Ana"}')


@pytest.mark.parametrize("tamanho", [1, 7, 4096], ids=["um-byte", "de-sete", "de-uma-vez"])
def test_o_que_falta_e_perguntado(com_dois, tamanho):
    """As perguntas vêm em JSON e na mesma ordem, cheguem os bytes como chegarem."""
    ana = com_dois.conecta("Ana")
    respostas = [
        objeto(comando="atendente"),
        objeto(comando="senha", senha="segredo"),
        objeto(comando="nome", nome="Ana"),
        objeto(comando="departamento", departamento="Suporte"),
    ]
    dados = "".join(f"{linha}\n" for linha in respostas).encode()
    for inicio in range(0, len(dados), tamanho):
        ana.envia(dados[inicio : inicio + tamanho])
    ana.espera('{"comando":"senha"}', '{"comando":"nome"}', '{"comando":"departamento","opcoes":["Vendas","Suporte"]}')
    ana.espera('{"comando":"fila","posicao":null}')


@casos(
    "linhas, motivo",
    {
        "json-invalido": (["{cliente}"], INVALIDO),
        "linha-longa": (["{" + "x" * 5000], "Linha longa demais (máximo de 4096 bytes)."),
        "tipo": ([objeto(comando="gerente")], 'Tipo inválido: o primeiro comando é "cliente" ou "atendente".'),
        "nome": (
            [objeto(comando="cliente", nome="[x]")],
            "Nome inválido: use de 1 a 40 caracteres, sem colchetes.",
        ),
        "departamento": (
            [objeto(comando="cliente", nome="Yuri", departamento="Compras")],
            "Departamento inválido: escolha entre Vendas, Suporte.",
        ),
        "senha": ([objeto(comando="atendente", senha="errada")], "Senha incorreta."),
        "fundo": (["{" + "[" * 4000], "JSON inválido: há listas e objetos demais, uns dentro dos outros."),
        "linha-longa-sem-fim": ([b"{" + b" " * 4095], "Linha longa demais (máximo de 4096 bytes)."),
        "antes-de-entrar": (
            [objeto(comando="mensagem", texto="oi")],
            'Tipo inválido: o primeiro comando é "cliente" ou "atendente".',
        ),
        "nome-em-branco": (
            [objeto(comando="cliente", nome=" ")],
            "Nome inválido: use de 1 a 40 caracteres, sem colchetes.",
        ),
        "nome-nulo": ([objeto(comando="cliente", nome=None)], 'Campo "nome" inválido: deve ser um texto.'),
        "dois-do-cliente": (
            [objeto(comando="cliente", nome="Yuri", departamento=["Vendas", "Suporte"])],
            "Departamento inválido: escolha entre Vendas, Suporte.",
        ),
        "todos-do-cliente": (
            [objeto(comando="cliente", nome="Yuri", departamento="*")],
            "Departamento inválido: escolha entre Vendas, Suporte.",
        ),
    },
)
def test_recusa_em_json(com_dois, linhas, motivo):
    """Na identificação, todo erro é um `fim` em JSON que diz o motivo."""
    alguem = com_dois.conecta()
    alguem.envia(*linhas)
    alguem.espera(f'{{"comando":"fim","mensagem":{json.dumps(motivo, ensure_ascii=False)}}}', FECHOU)


def test_resposta_que_nao_e_json(com_dois):
    """A conexão fala um formato até o fim: uma resposta em texto é JSON inválido."""
    yuri = com_dois.conecta()
    yuri.envia(objeto(comando="cliente"), "Yuri")
    yuri.espera('{"comando":"nome"}', f'{{"comando":"fim","mensagem":"{INVALIDO}"}}', FECHOU)


@casos(
    "linhas, motivo",
    {
        "linha-vazia": ([""], INVALIDO),
        "outro-comando": (['{"comando":"fila"}'], 'Resposta inválida: o comando esperado é "nome".'),
        "linha-longa": (["{" + " " * 5000], "Linha longa demais (máximo de 4096 bytes)."),
        "departamento-longo": (
            ['{"comando":"nome","nome":"Yuri"}', " " * 5000],
            "Linha longa demais (máximo de 4096 bytes).",
        ),
        "departamento-nulo": (
            ['{"comando":"nome","nome":"Yuri"}', '{"comando":"departamento","departamento":null}'],
            'Campo "departamento" inválido: deve ser um texto.',
        ),
    },
)
def test_resposta_que_nao_serve(com_dois, linhas, motivo):
    """O que não é a resposta esperada é recusado com um `fim` que diz por quê."""
    yuri = com_dois.conecta()
    yuri.envia(objeto(comando="cliente"), *linhas)
    perguntas = ['{"comando":"nome"}', '{"comando":"departamento","opcoes":["Vendas","Suporte"]}']
    yuri.espera(*perguntas[: len(linhas)], objeto_do_fio("fim", motivo), FECHOU)


def test_departamento_onde_nao_os_ha(servidor):
    """Num servidor sem departamentos não se diz um, e não se pergunta."""
    yuri, bia = servidor.conecta(), servidor.conecta()
    yuri.envia(objeto(comando="cliente", nome="Yuri", departamento="Vendas"))
    yuri.espera(objeto_do_fio("fim", "Departamento inválido: este servidor não tem departamentos."), FECHOU)
    bia.envia(objeto(comando="cliente", nome="Bia"))
    bia.espera('{"comando":"fila","posicao":1}')


def test_o_formato_e_o_do_primeiro_byte(abrir_servidor):
    """Quem só mandou meia linha já é respondido no seu formato; quem não mandou nada, em texto."""
    servidor = abrir_servidor(prazo_identificacao=0.2)
    meia, calado = servidor.conecta(), servidor.conecta()
    meia.envia(b"{")
    meia.espera(objeto_do_fio("fim", "Tempo de identificação esgotado."), FECHOU)
    calado.espera("FIM:Tempo de identificação esgotado.", FECHOU)


def test_json_conversa_com_texto(servidor):
    """Um lado fala JSON, o outro fala texto, e nenhum sabe do outro."""
    ana = servidor.atendente("Ana", "FILA:OK")
    yuri = servidor.conecta("Yuri")
    yuri.envia(objeto(comando="cliente", nome="Yuri"))
    yuri.espera('{"comando":"conectado","nome":"Ana"}')
    ana.espera("CONECTADO:Yuri")
    yuri.envia(objeto(comando="mensagem", texto='"FIM:" \\ ação'), objeto(comando="mensagem", texto="[Yuri]: eu"))
    ana.espera('[Yuri]: "FIM:" \\ ação', "[Yuri]: [Yuri]: eu")
    ana.envia("{", "[Ana]: oi")
    yuri.espera('{"comando":"mensagem","nome":"Ana","texto":"{"}', '{"comando":"mensagem","nome":"Ana","texto":"oi"}')
    yuri.envia(objeto(comando="fim"))
    ana.espera("FIM:Atendimento encerrado. O cliente Yuri encerrou a conversa.", "FILA:OK")
    yuri.espera('{"comando":"fim","mensagem":"Atendimento encerrado. Você encerrou a conversa."}', FECHOU)


def test_os_comandos_em_json(abrir_servidor):
    """Consulta, pausa, volta e transferência são os mesmos fatos."""
    servidor = abrir_servidor(departamentos=("Vendas", "Suporte"))
    ana = servidor.conecta("Ana")
    ana.envia(objeto(comando="atendente", nome="Ana", departamento="*"))
    ana.envia(objeto(comando="fila"), objeto(comando="pausa"), objeto(comando="volta"))
    ana.espera('{"comando":"fila","posicao":null}', '{"comando":"aviso","mensagem":"Nenhum cliente na fila."}')
    ana.espera('{"comando":"aviso","mensagem":"Você está em pausa."}', '{"comando":"fila","posicao":null}')
    yuri = servidor.conecta("Yuri")
    yuri.envia("CLIENTE:Vendas", "Yuri")
    yuri.espera("NOME:", "CONECTADO:Ana")
    ana.envia(objeto(comando="pausa"), objeto(comando="transferir", departamento="suporte"))
    yuri.espera("AVISO:Você foi transferido para Suporte.", "FILA:1")


def test_a_conexao_continua_depois_do_erro(servidor):
    """Linhas que não se entendem são respondidas na ordem, e a conversa segue."""
    ana = servidor.atendente("Ana", "FILA:OK")
    yuri = servidor.conecta("Yuri")
    yuri.envia(objeto(comando="cliente", nome="Yuri"))
    yuri.espera('{"comando":"conectado","nome":"Ana"}')
    yuri.envia("oi", "[" * 4090, b"{" + b"x" * 5000 + b"\n", objeto(comando="mensagem", texto="aqui"))
    yuri.espera(f'{{"comando":"aviso","mensagem":"{INVALIDO}"}}')
    yuri.espera('{"comando":"aviso","mensagem":"JSON inválido: há listas e objetos demais, uns dentro dos outros."}')
    yuri.espera(
        '{"comando":"aviso","mensagem":"Mensagem longa demais (máximo de 4096 bytes); não foi enviada."}'
    )
    ana.espera("CONECTADO:Yuri", "[Yuri]: aqui")


MENSAGEM = '{"comando":"mensagem","texto":"%s"}'
VAZIA = len(MENSAGEM % "") + 1  # bytes, com o \n


@casos(
    "linha, chega",
    {
        "no-limite": (MENSAGEM % ("x" * (4096 - VAZIA)), "x" * (4096 - VAZIA)),
        "um-byte-a-mais": (MENSAGEM % ("x" * (4097 - VAZIA)), None),
        "escapes-no-limite": (MENSAGEM % (r"\u00e9" * 677), "é" * 677),
        "escapes-a-mais": (MENSAGEM % (r"\u00e9" * 678), None),
        "espacos-a-mais": (MENSAGEM % "x" + " " * 4096, None),
        "bytes-invalidos-no-limite": (MENSAGEM.encode() % (b"\xff" * 1362) + b"\n", "\ufffd" * 1362),
        "bytes-invalidos-a-mais": (MENSAGEM.encode() % (b"\xff" * 1363) + b"\n", None),
    },
)
def test_o_limite_do_que_chega(servidor, linha, chega):
    """A linha tem 4096 bytes como as outras, e a mensagem tem de caber também na sua forma de texto."""
    ana = servidor.atendente("Ana", "FILA:OK")
    yuri = servidor.conecta("Yuri")
    yuri.envia(objeto(comando="cliente", nome="Yuri"), linha, MENSAGEM % "e agora?")
    yuri.espera('{"comando":"conectado","nome":"Ana"}')
    ana.espera("CONECTADO:Yuri")
    if chega is None:
        yuri.espera(objeto_do_fio("aviso", "Mensagem longa demais (máximo de 4096 bytes); não foi enviada."))
    else:
        ana.espera(f"[Yuri]: {chega}")
    ana.espera("[Yuri]: e agora?")


def test_a_mensagem_que_cresce_no_fio(servidor):
    """Cheia de aspas, a mensagem que coube em texto passa de 4096 bytes em JSON e chega inteira."""
    aspas = '"\\' * 2043
    yuri = servidor.conecta("Yuri")
    yuri.envia(objeto(comando="cliente", nome="Yuri"))
    yuri.espera('{"comando":"fila","posicao":1}')
    servidor.atendente("Ana", "CONECTADO:Yuri").envia(aspas, "e mais esta")
    comandos = comandos_do_servidor(yuri.sock.recv, Json())
    lidos = [next(comandos) for _ in range(3)]
    assert lidos == [Conectado("Ana"), Mensagem("Ana", (aspas,)), Mensagem("Ana", ("e mais esta",))]


def test_a_limpeza_e_a_mesma(servidor):
    """Nem por escapes um controle chega ao outro; e o que fica em branco não diz nada."""
    ana = servidor.atendente("Ana", "FILA:OK")
    yuri = servidor.conecta("Yuri")
    sujas = [r"\u001b[2Ja\u0000\n\u202eb", r"\u0000", "", "  ", r"\ud800", rf"{FAMILIA}\ud83d\ude00"]
    sujas += ["FIM:", "[Yuri]: oi"]
    yuri.envia(objeto(comando="cliente", nome="Y\u202eu\nri"), *(MENSAGEM % suja for suja in sujas))
    ana.espera("CONECTADO:Yuri", "[Yuri]: [2Jab", "[Yuri]: \ufffd", f"[Yuri]: {FAMILIA}😀", "[Yuri]: FIM:")
    ana.espera("[Yuri]: [Yuri]: oi")


def test_tudo_o_que_o_servidor_diz_em_json(abrir_servidor):
    """Espera, registro, transferência, devolução e fim têm em JSON os mesmos textos, na mesma ordem."""
    servidor = abrir_servidor(departamentos=("Vendas", "Suporte"), devolver=True, ouvinte=lambda acontecimento: None)
    yuri, ana = servidor.conecta("Yuri"), servidor.conecta("Ana")
    yuri.envia(objeto(comando="cliente", nome="Yuri", departamento=["vendas"]), MENSAGEM % "oi")
    na_fila = objeto_do_fio("aviso", "Você ainda está na fila; sua mensagem será entregue ao atendente.")
    registrada = objeto_do_fio("aviso", "Esta conversa está sendo registrada.")
    yuri.espera('{"comando":"fila","posicao":1}', na_fila)
    ana.envia(objeto(comando="atendente", nome="Ana", departamento=["vendas", " SUPORTE "]))
    ana.espera('{"comando":"conectado","nome":"Yuri"}', registrada, '{"comando":"mensagem","nome":"Yuri","texto":"oi"}')
    ana.envia(objeto(comando="transferir", departamento="SUPORTE"))
    ana.espera(objeto_do_fio("fim", "Atendimento encerrado. O cliente Yuri foi transferido para Suporte."))
    ana.espera('{"comando":"conectado","nome":"Yuri"}', registrada)
    yuri.espera('{"comando":"conectado","nome":"Ana"}', registrada)
    yuri.espera(objeto_do_fio("aviso", "Você foi transferido para Suporte."))
    yuri.espera('{"comando":"conectado","nome":"Ana"}', registrada)
    ana.fecha()
    yuri.espera(objeto_do_fio("aviso", "O atendente Ana desconectou. Você voltou para o início da fila."))
    yuri.espera('{"comando":"fila","posicao":1}')
    yuri.para_de_escrever()
    yuri.espera(FECHOU)


def test_o_servidor_encerra_em_json(abrir_servidor):
    """A despedida do servidor também é um `fim` em JSON."""
    servidor = abrir_servidor()
    yuri = servidor.conecta()
    yuri.envia(objeto(comando="cliente", nome="Yuri"))
    yuri.espera('{"comando":"fila","posicao":1}')
    servidor.encerrar(prazo=0.1)
    yuri.espera('{"comando":"fim","mensagem":"Servidor encerrado."}', FECHOU)


HOSTIS = {
    "listas": b"[" * 4090,
    "objetos": b'{"a":' * 818,
    "listas-e-objetos": b'[{"a":' * 680,
    "listas-num-campo": b'{"comando":"fila","x":' + b"[" * 2000 + b"]" * 2000 + b"}",
    "listas-depois-de-um-texto": b'{"a":"\\"","b":' + b"[" * 4000,
    "numero": b"9" * 4090,
    "expoente": b"1e" + b"9" * 4000,
    "aspas": b'"' * 4090,
    "barras": b'"' + b"\\" * 4000,
    "chaves-demais": b"{" + b",".join(b'"%d":0' % numero for numero in range(450)),
}


@so_no_posix
def test_o_processo_sobrevive_ao_json_hostil(abrir_processo):
    """Com a pilha pequena que o servidor dá às threads, nenhuma linha o derruba: na fila, aviso; antes dela, fim."""
    processo = abrir_processo()
    yuri = processo.conecta("Yuri")
    yuri.envia(objeto(comando="cliente", nome="Yuri"))
    yuri.espera('{"comando":"fila","posicao":1}')
    for hostil in HOSTIS.values():
        yuri.envia(hostil + b"\n")
        assert yuri.linha().startswith('{"comando":"aviso","mensagem":"JSON inválido: ')
        for antes in [], [objeto(comando="cliente")]:
            outro = processo.conecta()
            outro.envia(*antes, hostil + b"\n" if antes else b'{"x":' + hostil[:4000] + b"\n")
            assert outro.le_ate(FECHOU)[-1].startswith('{"comando":"fim","mensagem":"JSON inválido: ')
    yuri.envia(objeto(comando="fila"))
    yuri.espera(objeto_do_fio("aviso", "Você é o número 1 de 1 na fila; atendentes online: 0."))
    processo.fecha_participantes()
    processo.termina(signal.SIGTERM)


@pytest.mark.parametrize("tamanho", [1, 5, 4096], ids=["um-byte", "de-cinco", "de-uma-vez"])
def test_o_separador_nao_sabe_do_formato(tamanho):
    """As linhas de JSON são enquadradas como as outras."""
    dados = Json("Yuri").codificar(Mensagem("Ana", ["ação", FAMILIA]))
    separador = SeparadorDeLinhas()
    linhas = [linha for i in range(0, len(dados), tamanho) for linha in separador.alimentar(dados[i : i + tamanho])]
    assert Json().ler_servidor(linhas) == [Mensagem("Ana", ("ação",)), Mensagem("Ana", (FAMILIA,))]
