"""Departamentos, comandos, devolução e registro no fio: cada frase da especificação, com o servidor de verdade."""

import contextlib
import json
import random
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from participante import FECHOU, PRAZO

from protocolo import Json, Mensagem, SeparadorDeLinhas, Texto

DOIS = ("Vendas", "Suporte")
ESCOLHA = "FIM:Departamento inválido: escolha entre Vendas, Suporte."
NAO_TEM = "FIM:Departamento inválido: este servidor não tem departamentos."
EM_PAUSA = "AVISO:Você está em pausa."
REGISTRADA = "AVISO:Esta conversa está sendo registrada."


def casos(argumentos, tabela):
    """Um teste por item de `tabela`, cuja chave é o nome do caso."""
    return pytest.mark.parametrize(argumentos, tabela.values(), ids=tabela.keys())


@pytest.fixture
def com_dois(abrir_servidor):
    """Um servidor com os departamentos Vendas e Suporte."""
    return abrir_servidor(departamentos=DOIS)


def entra(servidor, tipo, nome, *linhas):
    """Alguém que diz o departamento já na primeira linha."""
    alguem = servidor.conecta(nome)
    alguem.envia(tipo, nome)
    alguem.espera("NOME:", *linhas)
    return alguem


def par(servidor, onde="Vendas", do_atendente="*"):
    """Yuri e Ana, que já conversam em `onde`."""
    ana = entra(servidor, f"ATENDENTE:{do_atendente}", "Ana", "FILA:OK")
    yuri = entra(servidor, f"CLIENTE:{onde}", "Yuri", "CONECTADO:Ana")
    ana.espera("CONECTADO:Yuri")
    return yuri, ana


# --- 1. Departamentos: a identificação ----------------------------------------------------------


@casos(
    "tipo, resposta, onde",
    {
        "cliente": ("CLIENTE", "Suporte", {"Suporte"}),
        "cliente-em-minusculas": ("CLIENTE", "  sUPORTE ", {"Suporte"}),
        "atendente-de-um": ("ATENDENTE", "Vendas", {"Vendas"}),
        "atendente-de-dois": ("ATENDENTE", "suporte , VENDAS", {"Vendas", "Suporte"}),
        "atendente-de-todos": ("ATENDENTE", "", {"Vendas", "Suporte"}),
        "atendente-repetido": ("ATENDENTE", "Vendas,vendas", {"Vendas"}),
    },
)
def test_o_departamento_e_perguntado_depois_do_nome(com_dois, tipo, resposta, onde):
    """O servidor diz quais são, e não importam maiúsculas nem espaços nas pontas."""
    alguem = com_dois.conecta("Yuri")
    alguem.envia(tipo)
    alguem.espera("NOME:")
    alguem.envia("Yuri")
    alguem.espera("DEPARTAMENTO:Vendas,Suporte")
    alguem.envia(resposta)
    alguem.espera("FILA:OK" if tipo == "ATENDENTE" else "FILA:1")
    (participante,) = com_dois.filas.user_states
    assert set(participante.departamentos) == onde


@casos(
    "tipo, onde",
    {
        "cliente": ("CLIENTE:Vendas", {"Vendas"}),
        "cliente-com-espacos": (" CLIENTE: vendas ", {"Vendas"}),
        "atendente": ("ATENDENTE:Vendas,Suporte", {"Vendas", "Suporte"}),
        "atendente-de-todos": ("ATENDENTE:*", {"Vendas", "Suporte"}),
    },
)
@pytest.mark.parametrize("tamanho", [1, 4096], ids=["um-byte", "de-uma-vez"])
def test_a_linha_de_tipo_traz_o_departamento(com_dois, tipo, onde, tamanho):
    """Quem já o disse não é perguntado, venham os bytes como vierem."""
    alguem = com_dois.conecta("Yuri")
    dados = f"{tipo}\nYuri\n".encode()
    for inicio in range(0, len(dados), tamanho):
        alguem.envia(dados[inicio : inicio + tamanho])
    alguem.espera("NOME:", "FILA:OK" if "ATENDENTE" in tipo else "FILA:1")
    (participante,) = com_dois.filas.user_states
    assert set(participante.departamentos) == onde


@casos(
    "tipo, resposta",
    {
        "outro": ("CLIENTE", "Compras"),
        "vazio-do-cliente": ("CLIENTE", ""),
        "dois-do-cliente": ("CLIENTE", "Vendas,Suporte"),
        "todos-do-cliente": ("CLIENTE", "*"),
        "outro-do-atendente": ("ATENDENTE", "Vendas,Compras"),
        "virgula-a-mais": ("ATENDENTE", "Vendas,"),
        "linha-longa": ("ATENDENTE", "x" * 5000),
    },
)
def test_escolha_invalida(com_dois, tipo, resposta):
    """A escolha que não serve é recusada com a lista; a linha longa demais não quer dizer todos."""
    alguem = com_dois.conecta()
    alguem.envia(tipo, "Yuri", resposta)
    alguem.espera("NOME:", "DEPARTAMENTO:Vendas,Suporte", ESCOLHA, FECHOU)


@casos(
    "tipo",
    {"outro": "CLIENTE:Compras", "dois": "CLIENTE:Vendas,Suporte", "todos": "CLIENTE:*", "atendente": "ATENDENTE:x"},
)
def test_escolha_invalida_na_linha_de_tipo(com_dois, tipo):
    """Na primeira linha a recusa vem na hora, sem perguntar o nome."""
    alguem = com_dois.conecta()
    alguem.envia(tipo)
    alguem.espera(ESCOLHA, FECHOU)


@casos("tipo", {"cliente": "CLIENTE:Vendas", "atendente": "ATENDENTE:Vendas", "todos": "ATENDENTE:*"})
def test_servidor_sem_departamentos(servidor, tipo):
    """Quem diz um departamento a quem não os tem é recusado."""
    alguem = servidor.conecta()
    alguem.envia(tipo)
    alguem.espera(NAO_TEM, FECHOU)


def test_a_recusa_cabe_na_linha(abrir_servidor):
    """Com uma lista que enche a linha, a recusa a abrevia: `Participante.linha` confere o limite."""
    nomes = tuple(f"{numero:040}" for numero in range(99))
    alguem = abrir_servidor(departamentos=nomes).conecta()
    alguem.envia("CLIENTE", "Yuri", "x")
    alguem.espera("NOME:", f"DEPARTAMENTO:{','.join(nomes)}")
    alguem.espera("FIM:Departamento inválido: escolha entre os que o servidor anuncia.", FECHOU)


def test_o_prazo_e_o_da_identificacao(abrir_servidor):
    """Quem não responde à pergunta do departamento a tempo é recusado como nas outras."""
    alguem = abrir_servidor(departamentos=DOIS, prazo_identificacao=0.2).conecta()
    alguem.envia("CLIENTE", "Yuri")
    alguem.espera("NOME:", "DEPARTAMENTO:Vendas,Suporte", "FIM:Tempo de identificação esgotado.", FECHOU)


def test_a_senha_vem_antes_do_nome_e_do_departamento(abrir_servidor):
    """A ordem das perguntas é senha, nome, departamento, e pode-se responder a todas de uma vez."""
    ana = abrir_servidor(departamentos=DOIS, senha="segredo").conecta()
    ana.envia("ATENDENTE", "segredo", "Ana", "")
    ana.espera("SENHA:", "NOME:", "DEPARTAMENTO:Vendas,Suporte", "FILA:OK")


# --- 1. Departamentos: as filas -----------------------------------------------------------------


def test_a_posicao_conta_so_o_departamento(com_dois):
    """Cada departamento é uma fila, e sair de uma não muda a outra."""
    yuri = entra(com_dois, "CLIENTE:Vendas", "Yuri", "FILA:1")
    entra(com_dois, "CLIENTE:Suporte", "Bia", "FILA:1")
    caio = entra(com_dois, "CLIENTE:Vendas", "Caio", "FILA:2")
    davi = entra(com_dois, "CLIENTE:Suporte", "Davi", "FILA:2")
    yuri.fecha()
    caio.espera("FILA:1")
    davi.envia("FILA:")
    davi.espera("AVISO:Você é o número 2 de 2 na fila; atendentes online: 0.")


def test_quem_espera_ha_mais_tempo_entre_os_departamentos_do_atendente(com_dois):
    """O atendente de vários recebe o que chegou antes, seja de qual for; o de um só, o primeiro do seu."""
    bia = entra(com_dois, "CLIENTE:Suporte", "Bia", "FILA:1")
    entra(com_dois, "CLIENTE:Suporte", "Caio", "FILA:2")
    yuri = entra(com_dois, "CLIENTE:Vendas", "Yuri", "FILA:1")
    entra(com_dois, "ATENDENTE:Vendas", "Ana", "CONECTADO:Yuri")
    entra(com_dois, "ATENDENTE:*", "Bruno", "CONECTADO:Bia")
    yuri.espera("CONECTADO:Ana")
    bia.espera("CONECTADO:Bruno")


def test_o_atendente_livre_ha_mais_tempo_entre_os_do_departamento(com_dois):
    """O cliente recebe quem ficou livre antes entre os que o atendem, e não outro."""
    entra(com_dois, "ATENDENTE:Vendas", "Ana", "FILA:OK")
    entra(com_dois, "ATENDENTE:*", "Bruno", "FILA:OK")
    entra(com_dois, "ATENDENTE:Suporte", "Carla", "FILA:OK")
    entra(com_dois, "CLIENTE:Suporte", "Yuri", "CONECTADO:Bruno")
    entra(com_dois, "CLIENTE:Suporte", "Bia", "CONECTADO:Carla")
    entra(com_dois, "CLIENTE:Suporte", "Caio", "FILA:1")
    entra(com_dois, "CLIENTE:Vendas", "Davi", "CONECTADO:Ana")


# --- 2. FILA: -----------------------------------------------------------------------------------


def test_consulta_do_cliente(com_dois):
    """O cliente sabe a sua posição no departamento, de quantos, e quantos atendentes estão online nele."""
    entra(com_dois, "ATENDENTE:Suporte", "Ana", "FILA:OK")
    bruno = entra(com_dois, "ATENDENTE:*", "Bruno", "FILA:OK")
    entra(com_dois, "CLIENTE:Vendas", "Yuri", "CONECTADO:Bruno")
    bruno.espera("CONECTADO:Yuri")
    entra(com_dois, "CLIENTE:Vendas", "Bia", "FILA:1")
    caio = entra(com_dois, "CLIENTE:Vendas", "Caio", "FILA:2")
    caio.envia("FILA:")
    caio.espera("AVISO:Você é o número 2 de 2 na fila; atendentes online: 1.")
    bruno.envia("PAUSA:")
    bruno.espera("AVISO:Você ficará em pausa depois desta conversa.")
    caio.envia("FILA:")  # a pausa pedida ainda não começou
    caio.espera("AVISO:Você é o número 2 de 2 na fila; atendentes online: 1.")
    bruno.envia("FIM:")
    bruno.espera("FIM:Atendimento encerrado. Você encerrou a conversa.", EM_PAUSA)
    caio.envia("FILA:")
    caio.espera("AVISO:Você é o número 2 de 2 na fila; atendentes online: 0.")


@casos(
    "duracoes, posicao, online, espera",
    {
        "menos-de-um-minuto": ([59.9], 1, 1, "menos de 1 min"),
        "um-minuto": ([60], 1, 1, "1 min"),
        "arredonda-para-cima": ([61], 1, 1, "2 min"),
        "media": ([60, 180], 1, 1, "2 min"),
        "vezes-a-posicao": ([60], 3, 1, "3 min"),
        "dividida-pelos-online": ([60], 3, 2, "2 min"),
        "so-os-ultimos-vinte": ([6000] * 30 + [60] * 20, 1, 1, "1 min"),
        "ninguem-online": ([60], 1, 0, None),
        "nenhum-atendimento": ([], 1, 1, None),
    },
)
def test_espera_estimada(com_dois, duracoes, posicao, online, espera):
    """A estimativa é a média dos últimos 20 do departamento × posição ÷ online, em minutos para cima."""
    for duracao in duracoes:
        com_dois.filas.turno.acabou("Vendas", duracao)
    com_dois.filas.turno.acabou("Suporte", 36_000)  # outro departamento não conta
    for numero in range(online):
        ana = entra(com_dois, "ATENDENTE:Vendas", "Ana", "FILA:OK")
        entra(com_dois, "CLIENTE:Vendas", f"Atendido {numero}", "CONECTADO:Ana")
        ana.espera(f"CONECTADO:Atendido {numero}")
    for lugar in range(1, posicao + 1):
        cliente = entra(com_dois, "CLIENTE:Vendas", "Yuri", f"FILA:{lugar}")
    cliente.envia("FILA:")
    estimativa = f"; espera estimada: {espera}" if espera else ""
    cliente.espera(f"AVISO:Você é o número {posicao} de {posicao} na fila; atendentes online: {online}{estimativa}.")


def test_a_estimativa_vem_da_duracao_das_conversas(abrir_servidor):
    """O relógio das filas mede a conversa, do `CONECTADO:` ao fim."""
    servidor = abrir_servidor()
    agora = [1000.0]
    servidor.filas.relogio = lambda: agora[0]
    yuri, ana = servidor.par()
    agora[0] += 150
    yuri.fecha()
    ana.espera("FIM:Atendimento encerrado. O cliente Yuri desconectou.", "FILA:OK")
    servidor.cliente("Bia", "CONECTADO:Ana")
    caio = servidor.cliente("Caio", "FILA:1")
    caio.envia("FILA:")
    caio.espera("AVISO:Você é o número 1 de 1 na fila; atendentes online: 1; espera estimada: 3 min.")


@casos(
    "quantos, resposta",
    {
        "nenhum": (0, "Nenhum cliente na fila."),
        "um": (1, "Clientes na fila: 1 (C1)."),
        "dez": (10, f"Clientes na fila: 10 ({', '.join(f'C{n}' for n in range(1, 11))})."),
        "onze": (11, f"Clientes na fila: 11 ({', '.join(f'C{n}' for n in range(1, 11))}, …)."),
    },
)
def test_consulta_do_atendente(com_dois, quantos, resposta):
    """O atendente sabe quem espera nos seus departamentos: dez nomes, e reticências se há mais."""
    ana = entra(com_dois, "ATENDENTE:Vendas", "Ana", "FILA:OK")
    ana.envia("PAUSA:")
    ana.espera(EM_PAUSA)
    entra(com_dois, "CLIENTE:Suporte", "Outro", "FILA:1")
    for numero in range(1, quantos + 1):
        entra(com_dois, "CLIENTE:Vendas", f"C{numero}", f"FILA:{numero}")
    ana.envia("FILA:")
    ana.espera(f"AVISO:{resposta}")


# --- 2. PAUSA: e VOLTA: -------------------------------------------------------------------------


def test_pausa_na_fila(servidor):
    """Em pausa não se recebem clientes; de volta, recebe-se o primeiro ou se espera."""
    ana = servidor.atendente("Ana", "FILA:OK")
    ana.envia("PAUSA:", "PAUSA:")
    ana.espera(EM_PAUSA, "AVISO:Você já está em pausa.")
    yuri = servidor.cliente("Yuri", "FILA:1")
    ana.envia("oi?", "VOLTA:")
    ana.espera("AVISO:Nenhum cliente conectado; a mensagem não foi enviada.", "CONECTADO:Yuri")
    yuri.espera("CONECTADO:Ana")
    yuri.fecha()
    ana.espera("FIM:Atendimento encerrado. O cliente Yuri desconectou.", "FILA:OK")
    ana.envia("PAUSA:", "VOLTA:", "VOLTA:")
    ana.espera(EM_PAUSA, "FILA:OK", "AVISO:Você não está em pausa.")


def test_quem_volta_vai_para_o_fim_da_fila(servidor):
    """A volta da pausa é uma chegada: quem esperava continua na frente."""
    ana, bruno = servidor.atendente("Ana", "FILA:OK"), servidor.atendente("Bruno", "FILA:OK")
    ana.envia("PAUSA:", "VOLTA:")
    ana.espera(EM_PAUSA, "FILA:OK")
    servidor.cliente("Yuri", "CONECTADO:Bruno")
    bruno.espera("CONECTADO:Yuri")


@casos(
    "fim",
    {
        "o-cliente-sai": (lambda yuri, ana: yuri.fecha(), "O cliente Yuri desconectou."),
        "o-cliente-encerra": (lambda yuri, ana: yuri.envia("FIM:"), "O cliente Yuri encerrou a conversa."),
        "o-atendente-encerra": (lambda yuri, ana: ana.envia("FIM:"), "Você encerrou a conversa."),
    },
)
def test_pausa_no_meio_da_conversa(servidor, fim):
    """A pausa pedida começa quando a conversa acaba, no lugar de `FILA:OK`, e há quem espere."""
    acaba, motivo = fim
    yuri, ana = servidor.par()
    servidor.cliente("Bia", "FILA:1")
    ana.envia("PAUSA:", "ainda aqui", "PAUSA:")
    ana.espera(*["AVISO:Você ficará em pausa depois desta conversa."] * 2)
    yuri.espera("[Ana]: ainda aqui")
    acaba(yuri, ana)
    ana.espera(f"FIM:Atendimento encerrado. {motivo}", EM_PAUSA)
    ana.envia("VOLTA:")
    ana.espera("CONECTADO:Bia")


def test_pausa_cancelada(servidor):
    """Com a pausa ainda por começar, `VOLTA:` a cancela."""
    yuri, ana = servidor.par()
    ana.envia("PAUSA:", "VOLTA:", "VOLTA:")
    ana.espera(
        "AVISO:Você ficará em pausa depois desta conversa.", "AVISO:Pausa cancelada.", "AVISO:Você não está em pausa."
    )
    yuri.fecha()
    ana.espera("FIM:Atendimento encerrado. O cliente Yuri desconectou.", "FILA:OK")


def test_sair_em_pausa(servidor):
    """`FIM:` de quem está em pausa o desconecta, e quem cai em pausa não deixa rastro."""
    ana, bruno = servidor.atendente("Ana", "FILA:OK"), servidor.atendente("Bruno", "FILA:OK")
    ana.envia("PAUSA:", "FIM:")
    ana.espera(EM_PAUSA, "FIM:Você saiu da fila.", FECHOU)
    bruno.envia("PAUSA:")
    bruno.espera(EM_PAUSA)
    bruno.some()
    ana.fecha()
    servidor.espera_que_fechem()
    assert not servidor.filas.user_states and not servidor.filas.online


# --- 2. TRANSFERIR: -----------------------------------------------------------------------------

TRANSFERIDO = "FIM:Atendimento encerrado. O cliente Yuri foi transferido para Suporte."


def test_transferir_para_quem_esta_livre(com_dois):
    """O transferido é atendido na hora por quem está livre lá, e quem transferiu fica livre."""
    yuri, ana = par(com_dois, do_atendente="Vendas")
    bia = entra(com_dois, "CLIENTE:Vendas", "Bia", "FILA:1")
    bruno = entra(com_dois, "ATENDENTE:Suporte", "Bruno", "FILA:OK")
    ana.envia("TRANSFERIR: suporte ")
    ana.espera(TRANSFERIDO, "CONECTADO:Bia")
    yuri.espera("AVISO:Você foi transferido para Suporte.", "CONECTADO:Bruno")
    bruno.espera("CONECTADO:Yuri")
    bia.espera("CONECTADO:Ana")
    yuri.envia("oi")
    bruno.espera("[Yuri]: oi")


def test_transferir_para_a_frente_da_fila(com_dois):
    """O transferido passa à frente de quem espera lá, que fica sabendo, e o que escreve fica guardado."""
    bruno = entra(com_dois, "ATENDENTE:Suporte", "Bruno", "FILA:OK")
    entra(com_dois, "CLIENTE:Suporte", "Caio", "CONECTADO:Bruno")
    bruno.espera("CONECTADO:Caio")
    bia = entra(com_dois, "CLIENTE:Suporte", "Bia", "FILA:1")
    yuri, ana = par(com_dois, do_atendente="Vendas")
    ana.envia("TRANSFERIR:Suporte")
    ana.espera(TRANSFERIDO, "FILA:OK")
    yuri.espera("AVISO:Você foi transferido para Suporte.", "FILA:1")
    bia.espera("FILA:2")
    yuri.envia("alguém?")
    yuri.espera("AVISO:Você ainda está na fila; sua mensagem será entregue ao atendente.")
    bruno.envia("FIM:")
    bruno.espera("FIM:Atendimento encerrado. Você encerrou a conversa.", "CONECTADO:Yuri", "[Yuri]: alguém?")
    bia.espera("FILA:1")


def test_transferir_para_si(com_dois):
    """O atendente dos dois departamentos, se é o único, recebe o mesmo cliente de volta."""
    yuri, ana = par(com_dois)
    ana.envia("TRANSFERIR:Suporte")
    ana.espera(TRANSFERIDO, "CONECTADO:Yuri")
    yuri.espera("AVISO:Você foi transferido para Suporte.", "CONECTADO:Ana")


def test_transferir_com_pausa_pedida(com_dois):
    """Quem pediu pausa e transfere entra nela."""
    yuri, ana = par(com_dois)
    ana.envia("PAUSA:", "TRANSFERIR:Suporte")
    ana.espera("AVISO:Você ficará em pausa depois desta conversa.", TRANSFERIDO, EM_PAUSA)
    yuri.espera("AVISO:Você foi transferido para Suporte.", "FILA:1")


@casos(
    "pedido, aviso",
    {
        "outro": ("TRANSFERIR:Compras", "Departamento inválido: escolha entre Vendas, Suporte."),
        "vazio": ("TRANSFERIR:", "Departamento inválido: escolha entre Vendas, Suporte."),
        "todos": ("TRANSFERIR:*", "Departamento inválido: escolha entre Vendas, Suporte."),
        "o-mesmo": ("TRANSFERIR:VENDAS", "O cliente Yuri já está em Vendas."),
    },
)
def test_transferencia_que_nao_serve(com_dois, pedido, aviso):
    """Com o departamento errado, o atendente lê um aviso e a conversa continua."""
    yuri, ana = par(com_dois)
    ana.envia(pedido, "continuamos")
    ana.espera(f"AVISO:{aviso}")
    yuri.espera("[Ana]: continuamos")


def test_transferir_sem_departamentos(servidor):
    """Num servidor sem departamentos não há para onde transferir."""
    yuri, ana = servidor.par()
    ana.envia("TRANSFERIR:Suporte", "continuamos")
    ana.espera("AVISO:Departamento inválido: este servidor não tem departamentos.")
    yuri.espera("[Ana]: continuamos")


# --- 2. Na hora errada --------------------------------------------------------------------------


@casos(
    "pedido, na_fila, na_conversa",
    {
        "fila": ("FILA:", "Você é o número 1 de 1 na fila; atendentes online: 0.", "Você já está sendo atendido."),
        "pausa": ("PAUSA:", "Só atendentes fazem pausa.", "Só atendentes fazem pausa."),
        "volta": ("VOLTA:", "Só atendentes fazem pausa.", "Só atendentes fazem pausa."),
        "transferir": ("TRANSFERIR:Vendas", *["Só atendentes transferem clientes."] * 2),
    },
)
def test_comando_do_cliente(servidor, pedido, na_fila, na_conversa):
    """Ao cliente, o comando que não cabe dá um aviso; não muda nada e nunca vira mensagem."""
    yuri = servidor.cliente("Yuri", "FILA:1")
    yuri.envia(pedido)
    yuri.espera(f"AVISO:{na_fila}")
    ana = servidor.atendente("Ana", "CONECTADO:Yuri")
    yuri.espera("CONECTADO:Ana")
    yuri.envia(f"{pedido}\r\n".encode(), "oi")
    yuri.espera(f"AVISO:{na_conversa}")
    ana.espera("[Yuri]: oi")


def test_transferir_sem_cliente(com_dois):
    """Fora de uma conversa não há quem transferir."""
    ana = entra(com_dois, "ATENDENTE:*", "Ana", "FILA:OK")
    ana.envia("TRANSFERIR:Vendas", "PAUSA:", "TRANSFERIR:Vendas")
    sem_cliente = "AVISO:Nenhum cliente conectado para transferir."
    ana.espera(sem_cliente, EM_PAUSA, sem_cliente)


@casos(
    "linha",
    {
        "com-argumento": "FILA:2",
        "em-minusculas": "pausa:",
        "sem-dois-pontos": "PAUSA",
        "depois-de-espaco": " VOLTA:",
        "com-prefixo": "[Ana]: TRANSFERIR:Vendas",
    },
)
def test_o_que_so_parece_comando_e_mensagem(servidor, linha):
    """O que não é exatamente um comando continua a ser chat, e o prefixo protege o que uma pessoa escreve."""
    yuri, ana = servidor.par()
    ana.envia(linha)
    yuri.espera(f"[Ana]: {linha.removeprefix('[Ana]: ')}")


# --- 3. Quando o atendente cai ------------------------------------------------------------------

VOLTOU = "AVISO:O atendente Ana desconectou. Você voltou para o início da fila."


@pytest.mark.parametrize("cai", ["fecha", "some", "para_de_escrever"], ids=["fecha", "rst", "meia"])
def test_devolvido_a_frente_da_fila(abrir_servidor, cai):
    """O cliente de quem cai volta a ser o primeiro, e quem esperava fica sabendo."""
    servidor = abrir_servidor(devolver=True)
    yuri, ana = servidor.par()
    bia = servidor.cliente("Bia", "FILA:1")
    getattr(ana, cai)()
    yuri.espera(VOLTOU, "FILA:1")
    bia.espera("FILA:2")
    yuri.envia("ainda aqui")
    yuri.espera("AVISO:Você ainda está na fila; sua mensagem será entregue ao atendente.")
    bruno = servidor.atendente("Bruno", "CONECTADO:Yuri", "[Yuri]: ainda aqui")
    yuri.espera("CONECTADO:Bruno")
    bruno.envia("FIM:")
    yuri.espera("FIM:Atendimento encerrado. O atendente Bruno encerrou a conversa.", FECHOU)


def test_devolvido_a_quem_esta_livre(abrir_servidor):
    """Com outro atendente livre, o devolvido é conectado direto, sem `FILA:`."""
    servidor = abrir_servidor(devolver=True)
    yuri, ana = servidor.par()
    bruno = servidor.atendente("Bruno", "FILA:OK")
    ana.fecha()
    yuri.espera(VOLTOU, "CONECTADO:Bruno")
    bruno.espera("CONECTADO:Yuri")


def test_devolvido_e_o_primeiro_entre_todos(abrir_servidor):
    """Para um atendente de vários departamentos, o devolvido vem antes de quem espera em qualquer um."""
    servidor = abrir_servidor(devolver=True, departamentos=DOIS)
    yuri, ana = par(servidor, do_atendente="Vendas")
    entra(servidor, "CLIENTE:Suporte", "Bia", "FILA:1")
    ana.fecha()
    yuri.espera(VOLTOU, "FILA:1")
    entra(servidor, "ATENDENTE:*", "Bruno", "CONECTADO:Yuri")


def test_quem_encerra_nao_devolve(abrir_servidor):
    """`FIM:` do atendente não é uma queda: o cliente é desconectado como sempre."""
    yuri, ana = abrir_servidor(devolver=True).par()
    ana.envia("FIM:")
    yuri.espera("FIM:Atendimento encerrado. O atendente Ana encerrou a conversa.", FECHOU)


def test_sem_a_opcao_o_cliente_e_encerrado(servidor):
    """O padrão é o do trabalho original."""
    yuri, ana = servidor.par()
    ana.fecha()
    yuri.espera("FIM:Atendimento encerrado. O atendente Ana desconectou.", FECHOU)


def test_o_atendente_que_nao_le_tambem_cai(abrir_servidor, monkeypatch):
    """Cortado por não ler, o atendente perde o cliente para a fila, e não para o fim."""
    monkeypatch.setattr("servidor.BUFFER_DE_ENVIO", 4096)
    servidor = abrir_servidor(devolver=True, prazo_envio=0.2)
    yuri, ana = servidor.par(buffers=4096)
    parar = threading.Event()

    def falar():
        while not parar.is_set():
            yuri.envia(*["x" * 1000] * 20)

    falante = threading.Thread(target=falar)
    falante.start()
    try:
        yuri.espera(VOLTOU)
    finally:
        parar.set()
        falante.join(PRAZO)
    yuri.espera("FILA:1")


# --- 4. O que o registro ouve -------------------------------------------------------------------


@pytest.fixture
def ouvido():
    """Os acontecimentos contados ao ouvinte: (conversa, evento, de, para, textos)."""
    return []


@pytest.fixture
def com_ouvinte(abrir_servidor, ouvido):
    """Um servidor com tudo ligado, e quem o ouve."""

    def ouvir(a):
        conversa = a.conversa
        assert (conversa.cliente, conversa.atendente) in {(a.de, a.para), (a.para, a.de)} or not a.de
        ouvido.append((conversa.numero, conversa.departamento, a.evento, a.de, a.para, *a.textos))

    return abrir_servidor(departamentos=DOIS, devolver=True, ouvinte=ouvir)


def test_o_aviso_de_registro_vem_logo_depois_do_conectado(com_ouvinte):
    """Os dois são avisados antes de qualquer mensagem, também das guardadas."""
    yuri = entra(com_ouvinte, "CLIENTE:Vendas", "Yuri", "FILA:1")
    yuri.envia("oi")
    yuri.espera("AVISO:Você ainda está na fila; sua mensagem será entregue ao atendente.")
    entra(com_ouvinte, "ATENDENTE:*", "Ana", "CONECTADO:Yuri", REGISTRADA, "[Yuri]: oi")
    yuri.espera("CONECTADO:Ana", REGISTRADA)


def test_tudo_o_que_se_ouve(com_ouvinte, ouvido):
    """Cada conversa tem início, mensagens e fim, com quem o causou; o servidor que encerra não é ninguém."""
    yuri = entra(com_ouvinte, "CLIENTE:Vendas", "Yuri", "FILA:1")
    yuri.envia("um", "dois")
    yuri.espera("AVISO:Você ainda está na fila; sua mensagem será entregue ao atendente.")
    ana = entra(com_ouvinte, "ATENDENTE:Vendas", "Ana", "CONECTADO:Yuri", REGISTRADA, "[Yuri]: um", "[Yuri]: dois")
    yuri.espera("CONECTADO:Ana", REGISTRADA)
    bruno = entra(com_ouvinte, "ATENDENTE:Suporte", "Bruno", "FILA:OK")
    ana.envia("[Ana]: três", "TRANSFERIR:Suporte")
    bruno.espera("CONECTADO:Yuri", REGISTRADA)
    bruno.fecha()
    yuri.espera("[Ana]: três", "AVISO:Você foi transferido para Suporte.", "CONECTADO:Bruno", REGISTRADA)
    yuri.espera("AVISO:O atendente Bruno desconectou. Você voltou para o início da fila.", "FILA:1")
    entra(com_ouvinte, "ATENDENTE:Suporte", "Carla", "CONECTADO:Yuri", REGISTRADA)
    com_ouvinte.encerrar(prazo=0.1)
    assert ouvido == [
        (1, "Vendas", "inicio", "Yuri", "Ana", ""),
        (1, "Vendas", "mensagem", "Yuri", "Ana", "um", "dois"),
        (1, "Vendas", "mensagem", "Ana", "Yuri", "três"),
        (1, "Vendas", "fim", "Ana", "Yuri", "O cliente Yuri foi transferido para Suporte."),
        (2, "Suporte", "inicio", "Yuri", "Bruno", ""),
        (2, "Suporte", "fim", "Bruno", "Yuri", "O atendente Bruno desconectou."),
        (3, "Suporte", "inicio", "Yuri", "Carla", ""),
        (3, "Suporte", "fim", "", "", "Servidor encerrado."),
    ]


@casos(
    "acaba, fim",
    {
        "cliente-sai": (lambda yuri, ana: yuri.fecha(), ("Yuri", "Ana", "O cliente Yuri desconectou.")),
        "cliente-encerra": (lambda yuri, ana: yuri.envia("FIM:"), ("Yuri", "Ana", "O cliente Yuri encerrou a conversa.")),
        "atendente-encerra": (lambda yuri, ana: ana.envia("FIM:"), ("Ana", "Yuri", "O atendente Ana encerrou a conversa.")),
    },
)
def test_quem_causou_o_fim(abrir_servidor, ouvido, acaba, fim):
    """O fim diz quem o causou, a quem e por quê."""
    acabou = threading.Event()

    def ouvir(a):
        ouvido.append((a.evento, a.de, a.para, *a.textos))
        if a.evento == "fim":
            acabou.set()

    servidor = abrir_servidor(ouvinte=ouvir)
    ana = servidor.atendente("Ana", "FILA:OK")
    yuri = servidor.cliente("Yuri", "CONECTADO:Ana", REGISTRADA)
    acaba(yuri, ana)
    assert acabou.wait(PRAZO)
    assert ouvido == [("inicio", "Yuri", "Ana", ""), ("fim", *fim)]


# --- Tudo ao mesmo tempo ------------------------------------------------------------------------


class Pessoa:
    """Alguém que faz de tudo, em texto ou em JSON, e lembra as mensagens que leu."""

    def __init__(self, servidor, numero, semente):
        self.sorteio = random.Random(f"{semente} {numero}")
        self.servidor = servidor
        self.nome = f"P{numero}"
        self.em_json = self.sorteio.random() < 0.5
        self.atende = self.sorteio.random() < 0.4
        self.lidas = []  # (quem disse, texto)
        self.sumiu = False

    def viver(self):
        self.fio = self.servidor.conecta(self.nome)
        onde = self.sorteio.choice(DOIS if not self.atende else ["Vendas", "Vendas,Suporte", "*"])
        if self.em_json:
            comando = "atendente" if self.atende else "cliente"
            self.fio.envia(json.dumps({"comando": comando, "nome": self.nome, "departamento": onde}))
        else:
            self.fio.envia(f"{'ATENDENTE' if self.atende else 'CLIENTE'}:{onde}", self.nome)
        leitor = threading.Thread(target=self.ler)
        leitor.start()
        with contextlib.suppress(OSError):  # já foi desconectado
            for passo in range(self.sorteio.randrange(5, 40)):
                self.fio.envia(self.linha(passo))
                if passo % 5 == 0:
                    self.fio.tem_o_que_ler(self.sorteio.random() / 100)
            self.sumiu = self.sorteio.random() < 0.3
            self.fio.sock.shutdown(socket.SHUT_RDWR if self.sumiu else socket.SHUT_WR)
        leitor.join(PRAZO)
        self.fio.fecha()

    def linha(self, passo):
        """Quase sempre uma mensagem; às vezes um comando, que pode não caber."""
        pedido = self.sorteio.choices(["mensagem", "fila", "pausa", "volta", "transferir", "fim"], [30, 2, 1, 2, 2, 1])[0]
        onde, texto = self.sorteio.choice(DOIS), f"{self.nome}.{passo}"
        if self.em_json:
            return json.dumps({"comando": pedido, "texto": texto, "departamento": onde})
        return {"mensagem": texto, "transferir": f"TRANSFERIR:{onde}"}.get(pedido, f"{pedido.upper()}:")

    def ler(self):
        formato = Json() if self.em_json else Texto()
        separador = SeparadorDeLinhas(formato.maximo)
        try:
            while dados := self.fio.sock.recv(4096):
                for comando in formato.ler_servidor(separador.alimentar(dados)):
                    if isinstance(comando, Mensagem):
                        self.lidas.append((comando.nome, *comando.textos))
        except OSError:
            if not self.sumiu:
                raise


@pytest.mark.parametrize("semente", range(3), ids="semente-{}".format)
def test_caos_com_tudo_ligado(abrir_servidor, semente):
    """Cada um lê o que o registro diz que lhe foi dito, na ordem; no fim não sobra ninguém."""
    ouvido = []  # (de, para, texto)

    def ouvir(a):
        ouvido.extend((a.de, a.para, texto) for texto in a.textos if a.evento == "mensagem")

    servidor = abrir_servidor(departamentos=DOIS, devolver=True, ouvinte=ouvir)
    pessoas = [Pessoa(servidor, numero, semente) for numero in range(40)]
    with ThreadPoolExecutor(len(pessoas)) as threads:
        list(threads.map(Pessoa.viver, pessoas))
    servidor.espera_que_fechem()
    filas = servidor.filas
    assert not (filas.user_states or filas.fila_clientes or filas.fila_atendentes or filas.online)
    assert len(ouvido) == len({texto for _, _, texto in ouvido}) > 20
    for pessoa in pessoas:
        ditas = [(de, texto) for de, para, texto in ouvido if para == pessoa.nome]
        assert pessoa.lidas == (ditas[: len(pessoa.lidas)] if pessoa.sumiu else ditas)
